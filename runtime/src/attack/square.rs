//! The Square attack, which asks for predictions only (Andriushchenko et al., "Square
//! Attack: a query-efficient black-box adversarial attack via random search", ECCV 2020).

use super::queries::Queries;
use crate::Result;
use crate::noise::Key;
use crate::target::{Form, Target};

/// The share of an image's pixels that the first squares cover.
const FIRST_SHARE: f64 = 0.8;
/// The iterations, of 10,000, at which that share is halved (section 5.1 of the paper).
const HALVED_AT: [f64; 9] = [10.0, 50.0, 200.0, 500.0, 1000.0, 2000.0, 4000.0, 6000.0, 8000.0];

/// Random search under L-infinity for a misclassified image: a square at a random place
/// goes to a corner of the ball, and stays there if the margin grows. A square that is there
/// already counts as a query, as in AutoAttack, but nobody is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Square {
    pub(crate) eps: f64,
    /// Predictions of each image, each a mean over draws.
    pub(crate) queries: u64,
}

/// One image under search.
struct Search {
    key: Key,
    image: Vec<f32>,
    margin: f64,
}

impl Square {
    /// The images of `target` after the search; `keys` decide its lots. An image that
    /// is misclassified by a model without noise is done. A model with noise is asked for the
    /// present image again beside each new one, under the same draws: otherwise the search
    /// would stay with the image that once had lucky ones.
    ///
    /// # Errors
    /// When a program cannot be compiled or run.
    pub(crate) fn run(
        &self,
        queries: &mut Queries,
        target: &Target,
        keys: &[Key],
    ) -> Result<Vec<f32>> {
        let (clean, size) = (target.clean.values::<f32>()?, target.size());
        let (form, random) = (queries.network.form.clone(), queries.network.random);
        let clean_of = |row: usize| clean.get(row * size..(row + 1) * size).unwrap_or_default();
        let stripes = |(row, &key): (usize, &Key)| Search {
            key,
            image: self.stripes(&form, clean_of(row), key),
            margin: f64::NEG_INFINITY,
        };
        let mut searches: Vec<Search> = keys.iter().enumerate().map(stripes).collect();
        let mut images: Vec<f32> = searches.iter().flat_map(|s| s.image.clone()).collect();
        let margins = queries.margins(target, &images)?;
        searches.iter_mut().zip(margins).for_each(|(search, margin)| search.margin = margin);

        let iterations = self.queries.saturating_sub(1) / if random { 2 } else { 1 };
        for iteration in 1..=iterations {
            let going = |search: &Search| random || search.margin <= 0.0;
            let rows = searches.iter().enumerate().filter(|(_, search)| going(search));
            let rows: Vec<usize> = rows.map(|(row, _)| row).collect();
            if rows.is_empty() {
                break;
            }
            let side = side(&form, iteration, iterations);
            let (mut moved, mut candidates) = (Vec::new(), Vec::new());
            for row in rows {
                let Some(search) = searches.get(row) else { continue };
                let image = self.candidate(&form, clean_of(row), search, iteration, side);
                if image != search.image {
                    moved.push(row);
                    candidates.extend(image);
                }
            }
            if moved.is_empty() {
                continue;
            }
            let asked = target.rows(&moved)?;
            if random {
                let same = queries.draws.clone();
                images.clear();
                for search in moved.iter().filter_map(|&row| searches.get(row)) {
                    images.extend_from_slice(&search.image);
                }
                let margins = queries.margins(&asked, &images)?;
                for (&row, margin) in moved.iter().zip(margins) {
                    searches.get_mut(row).into_iter().for_each(|search| search.margin = margin);
                }
                *queries.draws = same;
            }
            let margins = queries.margins(&asked, &candidates)?;
            for ((row, image), margin) in
                moved.iter().zip(candidates.chunks_exact(size)).zip(margins)
            {
                if let Some(search) = searches.get_mut(*row).filter(|s| margin > s.margin) {
                    search.image.copy_from_slice(image);
                    search.margin = margin;
                }
            }
        }
        Ok(searches.into_iter().flat_map(|search| search.image).collect())
    }

    /// Every column of every channel at one side of the ball (section 3.3).
    fn stripes(&self, form: &Form, clean: &[f32], key: Key) -> Vec<f32> {
        let [channels, height, width] = form.image;
        let mut image = clean.to_vec();
        for channel in 0..channels {
            for column in 0..width {
                let up = bit(key, 0, channel * width + column);
                for row in 0..height {
                    self.put(&mut image, clean, form.at(channel, row * width + column), up);
                }
            }
        }
        image
    }

    /// The present image with a square of `side` at the sides of the ball that lots choose,
    /// one for each channel (algorithm 2).
    fn candidate(
        &self,
        form: &Form,
        clean: &[f32],
        search: &Search,
        iteration: u64,
        side: usize,
    ) -> Vec<f32> {
        let [channels, height, width] = form.image;
        let [top, left, ..] = search.key.words((2 * iteration) << 32);
        let top = below(top, height - side + 1);
        let left = below(left, width - side + 1);
        let mut image = search.image.clone();
        for channel in 0..channels {
            let up = bit(search.key, 2 * iteration + 1, channel);
            for row in top..top + side {
                for column in left..left + side {
                    self.put(&mut image, clean, form.at(channel, row * width + column), up);
                }
            }
        }
        image
    }

    /// Moves one value to a side of the ball.
    fn put(&self, image: &mut [f32], clean: &[f32], at: usize, up: bool) {
        let eps = if up { self.eps } else { -self.eps };
        if let (Some(pixel), Some(clean)) = (image.get_mut(at), clean.get(at)) {
            *pixel = (clean + eps as f32).clamp(0.0, 1.0);
        }
    }
}

/// The side of the squares of an iteration, at least 1 and within the image.
fn side(form: &Form, iteration: u64, iterations: u64) -> usize {
    let [_, height, width] = form.image;
    let at = iteration as f64 / iterations as f64 * 10_000.0;
    let halvings = HALVED_AT.iter().filter(|halved| at > **halved).count() as i32;
    let share = FIRST_SHARE / 2f64.powi(halvings);
    let side = (share * (height * width) as f64).sqrt().round() as usize;
    side.clamp(1, height.min(width).max(1))
}

/// A number below `bound` (at least 1), each almost equally likely.
fn below(word: u32, bound: usize) -> usize {
    ((u64::from(word) * bound as u64) >> 32) as usize
}

/// The lot number `index` of a draw.
fn bit(key: Key, draw: u64, index: usize) -> bool {
    let words = key.words((draw << 32) | (1 + index as u64 / 128));
    words.get(index / 32 % 4).is_some_and(|word| word >> (index % 32) & 1 == 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::data::Dataset;

    fn form() -> Form {
        let dataset = Dataset::new([3, 32, 32], vec![0; 3072], vec![0], Vec::new()).unwrap();
        Form::new(&[1, 3, 32, 32], &dataset).unwrap()
    }

    #[test]
    fn squares_shrink_as_the_paper_has_it() {
        let sides: Vec<usize> = [1, 10, 11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001, 10_000]
            .map(|iteration| side(&form(), iteration, 10_000))
            .to_vec();
        assert_eq!(sides, [29, 29, 20, 14, 10, 7, 5, 4, 3, 2, 1, 1]);
        assert_eq!(side(&form(), 1, 1000), 29);
        assert_eq!(side(&form(), 2, 1000), 20);
    }

    #[test]
    fn candidates_change_one_square_to_the_sides_of_the_ball() {
        let (form, attack) = (form(), Square { eps: 0.1, queries: 10 });
        let clean: Vec<f32> = (0..3072).map(|i| i as f32 / 3071.0).collect();
        let key = Key::new(1, 2, 3);
        let image = attack.stripes(&form, &clean, key);
        let at_a_side = |image: &[f32]| {
            image.iter().zip(&clean).all(|(pixel, clean)| {
                [-0.1, 0.1].iter().any(|eps| *pixel == (clean + eps).clamp(0.0, 1.0))
            })
        };
        assert!(at_a_side(&image));
        let search = Search { key, image, margin: 0.0 };
        let mut total = 0;
        for iteration in 1..50 {
            let next = attack.candidate(&form, &clean, &search, iteration, 4);
            assert!(at_a_side(&next));
            let changed = next.iter().zip(&search.image).filter(|(a, b)| a != b).count();
            assert!(changed <= 48, "{changed}");
            total += changed;
        }
        assert!(total > 0);
    }
}
