//! Some images before and after an attack.

use maud::{Markup, html};

use super::png::{data_address, encode};
use crate::Result;
use crate::evaluate::Pictured;
use crate::uncertainty::Judged;

/// Shown this many times as large at least, so that single pixels can be seen.
const WIDTH: u32 = 96;

/// A row for each image: clean, what was added, attacked, and what the model says of both.
///
/// # Errors
/// When an image is none.
pub(super) fn rows(pictures: &[Pictured], class_names: &[String]) -> Result<Markup> {
    let mut rows = Vec::new();
    for picture in pictures {
        let name = |class: i64| {
            let known = usize::try_from(class).ok().and_then(|class| class_names.get(class));
            known.cloned().unwrap_or_else(|| class.to_string())
        };
        let shape = picture.shape;
        let added: Vec<u8> =
            picture.added.iter().map(|&level| level.wrapping_add(-128) as u8).collect();
        let clean = image(&picture.clean, shape, "clean image")?;
        let added = image(&added, shape, "what the attack added, amplified")?;
        let attacked = image(&picture.attacked, shape, "attacked image")?;
        rows.push(html! {
            div.example {
                p.label { "label " b { (name(picture.before.label)) } }
                div.triple {
                    figure { (clean) figcaption { (said(&picture.before, &name)) } }
                    figure { (added) figcaption { "added, 1 radius = full contrast" } }
                    figure { (attacked) figcaption { (said(&picture.after, &name)) } }
                }
            }
        });
    }
    Ok(html! { div.examples { @for row in &rows { (row) } } })
}

/// The class and how sure the model is of it.
fn said(judged: &Judged, name: &dyn Fn(i64) -> String) -> Markup {
    let right = judged.is_right();
    html! {
        b.right[right].wrong[!right] { (if right { "✓ " } else { "✗ " }) (name(judged.class)) }
        (format!(" {:.0} %", 100.0 * judged.confidence))
        br;
        (format!("entropy {:.2}, MI {:.3}", judged.predictive_entropy, judged.mutual_information()))
    }
}

/// `[C, H, W]` bytes as an image of the page; of other than three channels the first.
fn image(planes: &[u8], [channels, height, width]: [usize; 3], text: &str) -> Result<Markup> {
    let size = height * width;
    let pixels: Vec<u8> = match channels {
        3 => (0..size)
            .flat_map(|at| (0..3).filter_map(move |c| planes.get(c * size + at).copied()))
            .collect(),
        _ => planes.get(..size).unwrap_or_default().to_vec(),
    };
    let address = data_address(&encode(&pixels, width as u32, height as u32)?);
    let shown = WIDTH.max(width as u32).min(2 * WIDTH);
    Ok(
        html! { img src=(address) alt=(text) width=(shown) height=(shown * height as u32 / width.max(1) as u32); },
    )
}
