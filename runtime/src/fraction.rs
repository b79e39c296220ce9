//! Numbers as people write radii and step sizes.

/// `0.03` or `8/255`, finite and not negative.
pub fn fraction(text: &str) -> Option<f64> {
    let number = |part: &str| part.trim().parse::<f64>().ok();
    let value = match text.split_once('/') {
        Some((top, bottom)) => number(top)? / number(bottom)?,
        None => number(text)?,
    };
    (value.is_finite() && value >= 0.0).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions() {
        assert_eq!(fraction("8/255"), Some(8.0 / 255.0));
        assert_eq!(fraction("0.1"), Some(0.1));
        for bad in ["", "a", "1/0", "-1", "nan", "1/2/3", "inf"] {
            assert_eq!(fraction(bad), None, "{bad}");
        }
    }
}
