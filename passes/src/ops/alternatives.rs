//! The forms that a gradient can take, and the one that is chosen.

use graphs::{Graph, NodeId};

use super::schedule::{self, Forms, ImageForm, MaxForm, WeightForm};
use super::{Call, conv, pool};
use crate::{Platform, Result};

/// A gradient that has several forms.
pub(crate) struct Alternatives {
    /// `image`, `weight` or `maximum`.
    pub(crate) gradient: &'static str,
    /// The argument that it is with respect to.
    pub(crate) argument: usize,
    /// The forms that apply.
    pub(crate) forms: Vec<Alternative>,
}

/// One form.
pub(crate) struct Alternative {
    pub(crate) name: String,
    /// Asks for it.
    pub(crate) forms: Forms,
    /// Whether it is taken where nothing is asked for.
    pub(crate) chosen: bool,
}

const IMAGE: [ImageForm; 4] =
    [ImageForm::Turned, ImageForm::Transposed, ImageForm::Columns, ImageForm::Winograd];
const WEIGHT: [WeightForm; 5] = [
    WeightForm::Tiles,
    WeightForm::Columns,
    WeightForm::Taps,
    WeightForm::Products,
    WeightForm::Exchanged,
];
const MAX: [MaxForm; 4] = [MaxForm::Taps, MaxForm::Places, MaxForm::Ranks, MaxForm::Indices];

/// The gradients of a node, of known shapes, that have several forms.
pub(crate) fn alternatives(
    graph: &Graph,
    id: NodeId,
    platform: Platform,
) -> Result<Vec<Alternatives>> {
    let node = graph.node(id);
    let Some(op) = node.op().filter(|op| op.domain.is_empty()) else { return Ok(Vec::new()) };
    let call = Call::new(graph, &node.name, op, graph.arguments(id));
    let free = Forms { platform, ..Forms::default() };
    Ok(match op.op_type.as_str() {
        "Conv" => {
            let parts = conv::conv(&call)?;
            let image = |forms| schedule::image(&parts, forms);
            let weight = |forms| schedule::weight(&parts, forms);
            vec![
                Alternatives {
                    gradient: "image",
                    argument: 0,
                    forms: those(IMAGE, |form| Forms { image: form, ..free }, image),
                },
                Alternatives {
                    gradient: "weight",
                    argument: 1,
                    forms: those(WEIGHT, |form| Forms { weight: form, ..free }, weight),
                },
            ]
        }
        "MaxPool" => {
            let axes = pool::windows(&call)?;
            let max = |forms| schedule::max(&axes, forms);
            vec![Alternatives {
                gradient: "maximum",
                argument: 0,
                forms: those(MAX, |form| Forms { max: form, ..free }, max),
            }]
        }
        _ => Vec::new(),
    })
}

/// The forms that are given where they are asked for: another is where one does not apply.
fn those<F: Copy + PartialEq + std::fmt::Debug, const N: usize>(
    forms: [F; N],
    asking: impl Fn(Option<F>) -> Forms,
    given: impl Fn(Forms) -> F,
) -> Vec<Alternative> {
    let chosen = given(asking(None));
    let applies = forms.into_iter().filter(|&form| given(asking(Some(form))) == form);
    let alternative = |form: F| Alternative {
        name: format!("{form:?}").to_lowercase(),
        forms: asking(Some(form)),
        chosen: form == chosen,
    };
    applies.map(alternative).collect()
}
