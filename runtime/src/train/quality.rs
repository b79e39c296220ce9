//! How well some images are answered, by which epochs are compared.

/// Of classes how many are right, of a regression how far off the numbers are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Quality {
    /// So many of the images are classified right.
    Right { right: u64, images: u64 },
    /// The sum over the images of their mean squared errors.
    Error { squares: f64, images: u64 },
}

impl Quality {
    /// Greater is better: images right, or the negative of the mean squared error.
    pub(super) fn rank(self) -> f64 {
        match self {
            Quality::Right { right, .. } => right as f64,
            Quality::Error { squares, images } => -squares / images.max(1) as f64,
        }
    }

    /// As it is reported: the accuracy in percent, or the root mean square error.
    pub(super) fn figure(self) -> f64 {
        match self {
            Quality::Right { right, images } => 100.0 * right as f64 / images.max(1) as f64,
            Quality::Error { squares, images } => (squares / images.max(1) as f64).sqrt(),
        }
    }

    /// Of these images and others.
    pub(super) fn and(self, other: Quality) -> Quality {
        match (self, other) {
            (Quality::Right { right, images }, Quality::Right { right: r, images: n }) => {
                Quality::Right { right: right + r, images: images + n }
            }
            (Quality::Error { squares, images }, Quality::Error { squares: s, images: n }) => {
                Quality::Error { squares: squares + s, images: images + n }
            }
            // The images of one data set are all of one kind.
            (kept, _) => kept,
        }
    }

    /// The figure of an epoch of rank `best` if training has collapsed from that to this: if under
    /// a fifth of the images are left. So few that chance decides are no sign, and a regression has
    /// no such share.
    pub(super) fn collapsed_from(self, best: f64) -> Option<f64> {
        const FEW: f64 = 8.0;
        match self {
            Quality::Right { right, images } if best >= FEW && 5.0 * (right as f64) < best => {
                Some(100.0 * best / images.max(1) as f64)
            }
            Quality::Right { .. } | Quality::Error { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_error_ranks_higher_and_the_figure_is_its_root() {
        let error = |squares| Quality::Error { squares, images: 4 };
        assert!(error(4.0).rank() > error(4.1).rank());
        assert_eq!(error(16.0).figure(), 2.0);
        let both = error(16.0).and(Quality::Error { squares: 4.0, images: 1 });
        assert_eq!(both, Quality::Error { squares: 20.0, images: 5 });
        assert_eq!(error(1e9).collapsed_from(-1e-9), None);
        let right = |right| Quality::Right { right, images: 20 };
        assert_eq!(right(0).collapsed_from(right(8).rank()), Some(40.0));
        assert_eq!(right(1).collapsed_from(right(8).rank()), Some(40.0));
        assert_eq!(right(2).collapsed_from(right(10).rank()), None);
        assert_eq!(right(0).collapsed_from(right(7).rank()), None);
    }
}
