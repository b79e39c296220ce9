//! Operators that make values from attributes, shapes and indices.

use graphs::{Attribute, DType, Fact, Tensor};

use super::eval::{self, Numbers};
use super::{Call, Def, Gradient, case};
use crate::{Result, signed};
use Gradient::Zero;

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "Constant",
        infer: |call| Ok(vec![Fact::of(&constant(call)?)]),
        gradient: Zero,
        eval: Some(|call| Ok(Some(vec![constant(call)?]))),
        cases: || {
            let ints = Attribute::Ints(vec![1, 2]);
            let value = |name, value: Attribute| case("Constant").with(name, value);
            vec![
                value("value", Tensor::vector(&[1f32, 2.0]).into()),
                value("value_float", 0.5f32.into()),
                value("value_floats", vec![0.5f32, 1.0].into()),
                value("value_int", 3i64.into()),
                value("value_ints", ints),
            ]
        },
    },
    Def {
        op: "ConstantOfShape",
        infer: |call| Ok(vec![Fact::new(fill(call)?.dtype(), &sizes(call)?)]),
        gradient: Zero,
        eval: Some(|call| {
            let (true, value) = (call.constant(0).is_some(), fill(call)?) else { return Ok(None) };
            let shape = sizes(call)?;
            match eval::stretch(&[], &shape) {
                Some(positions) => eval::pick(&value, &shape, positions),
                None => Ok(None),
            }
        }),
        cases: || {
            vec![
                case("ConstantOfShape").ints(&[2, 3]),
                case("ConstantOfShape").with("value", Tensor::vector(&[7i64])).ints(&[2]),
            ]
        },
    },
    Def {
        op: "Shape",
        infer: |call| Ok(vec![Fact::new(DType::I64, &[dimensions(call)?.len()])]),
        gradient: Zero,
        eval: Some(|call| Ok(Some(vec![Tensor::vector(&signed(&dimensions(call)?))]))),
        cases: || {
            vec![
                case("Shape").x(&[2, 3, 4]),
                case("Shape").with("start", 1i64).with("end", -1i64).x(&[2, 3, 4]),
            ]
        },
    },
    Def {
        op: "Size",
        infer: |_| Ok(vec![Fact::new(DType::I64, &[])]),
        gradient: Zero,
        eval: Some(|call| {
            let shape = signed(&call.shape(0)?);
            let count = shape.iter().try_fold(1i64, |n, &size| n.checked_mul(size));
            eval::one(count.map(Tensor::scalar))
        }),
        cases: || vec![case("Size").x(&[2, 3])],
    },
    Def {
        op: "Range",
        infer: |call| Ok(vec![Fact::new(call.dtype(0)?, &[range(call)?.1])]),
        gradient: Zero,
        eval: Some(|call| {
            let ([start, step], count) = range(call)?;
            if count > eval::LIMIT {
                return Ok(None);
            }
            let values = (0..count).map(|i| start + i as f64 * step);
            let dtype = call.dtype(0)?;
            let numbers = match dtype {
                DType::F32 | DType::F64 => Numbers::Floats(values.collect()),
                _ => Numbers::Ints(values.map(|value| value as i64).collect()),
            };
            eval::one(eval::write(dtype, vec![count], numbers))
        }),
        cases: || {
            let floats = case("Range").scalar(1f32).scalar(-1f32).scalar(-0.5f32);
            vec![
                case("Range").scalar(2i64).scalar(9i64).scalar(3i64),
                floats.tract_lacks("Range of floats"),
            ]
        },
    },
];

/// The value of a Constant, under whichever attribute it stands.
fn constant(call: &Call) -> Result<Tensor> {
    let mut values = call.op.attributes.iter();
    let tensor = values.find_map(|(name, value)| match (name.as_str(), value) {
        ("value", Attribute::Tensor(tensor)) => Some(Ok(tensor.clone())),
        ("value_float", Attribute::Float(value)) => Some(Ok(Tensor::scalar(*value))),
        ("value_floats", Attribute::Floats(values)) => Some(Ok(Tensor::vector(values))),
        ("value_int", Attribute::Int(value)) => Some(Ok(Tensor::scalar(*value))),
        ("value_ints", Attribute::Ints(values)) => Some(Ok(Tensor::vector(values))),
        ("value_string", Attribute::String(value)) => {
            Some(Tensor::from_strings(vec![], vec![value.clone()]))
        }
        ("value_strings", Attribute::Strings(values)) => {
            Some(Tensor::from_strings(vec![values.len()], values.clone()))
        }
        _ => None,
    });
    let missing = "has no dense value; sparse constants have to be made dense first";
    Ok(tensor.ok_or_else(|| call.error(missing))??)
}

/// The one element of ConstantOfShape's result, as a scalar.
fn fill(call: &Call) -> Result<Tensor> {
    match call.op.attributes.get("value") {
        None => Ok(Tensor::scalar(0f32)),
        Some(Attribute::Tensor(value)) => Ok(value.reshaped(&[])?),
        Some(_) => Err(call.error("`value` is no tensor")),
    }
}

fn sizes(call: &Call) -> Result<Vec<usize>> {
    call.required_integers(0)?.iter().map(|&n| call.size(n)).collect()
}

/// What Shape returns: the dimensions from `start` to `end`.
fn dimensions(call: &Call) -> Result<Vec<usize>> {
    let shape = call.shape(0)?;
    let rank = shape.len() as i64;
    let place = |i: i64| (if i < 0 { i.saturating_add(rank) } else { i }).clamp(0, rank) as usize;
    let (start, end) = (place(call.op.int("start", 0)), place(call.op.int("end", rank)));
    Ok(shape.get(start..end).unwrap_or(&[]).to_vec())
}

/// Start, step and number of elements of a Range. Integers beyond 2^53 are refused.
fn range(call: &Call) -> Result<([f64; 2], usize)> {
    let number = |i: usize| {
        let tensor = call.constant(i).filter(|tensor| tensor.len() == 1);
        let tensor =
            tensor.ok_or_else(|| call.error(format!("argument {i} must be a constant scalar")))?;
        let value = match tensor.dtype() {
            DType::F64 => tensor.values::<f64>()?.first().copied(),
            dtype if dtype.is_float() => tensor.floats()?.first().map(|&v| v.into()),
            _ => tensor.integers()?.first().map(|&v| v as f64),
        };
        let exact = value.filter(|v| v.abs() < eval::EXACT);
        exact.ok_or_else(|| call.error(format!("argument {i} is out of range")))
    };
    let (start, limit, step) = (number(0)?, number(1)?, number(2)?);
    let count = ((limit - start) / step).ceil().max(0.0);
    if step == 0.0 || count >= eval::EXACT {
        return Err(call.error(format!("a step of {step} from {start} never gets to {limit}")));
    }
    Ok(([start, step], count as usize))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::trial::{eval, ints, refusal, shape};
    use super::*;

    #[test]
    fn shapes_are_cut_like_slices() {
        let part = |start: i64, end: i64| {
            ints(case("Shape").with("start", start).with("end", end).x(&[2, 3, 4]))
        };
        assert_eq!(ints(case("Shape").x(&[2, 3, 4])), [2, 3, 4]);
        assert_eq!(part(1, -1), [3]);
        assert_eq!(part(-2, i64::MAX), [3, 4]);
        assert_eq!(part(2, 1), [0i64; 0]);
        assert_eq!(ints(case("Size").x(&[2, 3, 4])), [24]);
    }

    #[test]
    fn constants_come_from_every_attribute() {
        assert_eq!(ints(case("Constant").with("value_ints", vec![4i64, 5])), [4, 5]);
        let text = eval(case("Constant").with("value_string", "cat"));
        assert_eq!(text[0].strings()[0], "cat");
        assert!(refusal(case("Constant")).contains("no dense value"));
        let sevens = case("ConstantOfShape").with("value", Tensor::vector(&[7i64]));
        assert_eq!(ints(sevens.ints(&[2])), [7, 7]);
        assert!(refusal(case("ConstantOfShape").ints(&[-1])).contains("no dimension"));
        assert!(eval(case("ConstantOfShape").ints(&[1 << 40])).is_empty());
    }

    #[test]
    fn ranges_have_the_length_that_numpy_says() {
        let range = |a: i64, b: i64, c: i64| case("Range").scalar(a).scalar(b).scalar(c);
        assert_eq!(ints(range(2, 9, 3)), [2, 5, 8]);
        assert_eq!(ints(range(3, 0, -2)), [3, 1]);
        assert_eq!(shape(range(3, 0, 1)), [0]);
        let halves = &eval(case("Range").scalar(1f32).scalar(2.2f32).scalar(0.5f32))[0];
        assert_eq!(*halves.floats().unwrap(), [1.0, 1.5, 2.0]);
        assert!(refusal(range(0, 1, 0)).contains("step of 0"));
        assert!(refusal(range(i64::MIN, i64::MAX, 1)).contains("out of range"));
    }
}
