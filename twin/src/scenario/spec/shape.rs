//! Shapes of load, as a scenario may write them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use toml::Spanned;

use super::unplaced;

/// A shape by name or by numbers; numbers are divided by their mean.
#[derive(Clone, Debug)]
pub enum Shape {
    /// The name of a preset.
    Named(Spanned<String>),
    /// One number for each hour of the day, or each day of the week, Monday first.
    Numbers(Spanned<Vec<f64>>),
}

impl Default for Shape {
    fn default() -> Self {
        Shape::Named(unplaced("flat".to_owned()))
    }
}

impl Serialize for Shape {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Shape::Named(name) => name.serialize(serializer),
            Shape::Numbers(numbers) => numbers.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        enum Either {
            Name(String),
            Numbers(Vec<f64>),
        }
        struct EitherVisitor;
        impl<'de> de::Visitor<'de> for EitherVisitor {
            type Value = Either;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a shape, or a list of numbers")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Either, E> {
                Ok(Either::Name(text.to_owned()))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Either, A::Error> {
                let mut numbers = Vec::new();
                while let Some(number) = list.next_element()? {
                    numbers.push(number);
                }
                Ok(Either::Numbers(numbers))
            }
        }
        impl<'de> Deserialize<'de> for Either {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(EitherVisitor)
            }
        }
        let either = Spanned::<Either>::deserialize(deserializer)?;
        let span = either.span();
        Ok(match either.into_inner() {
            Either::Name(name) => Shape::Named(Spanned::new(span, name)),
            Either::Numbers(numbers) => Shape::Numbers(Spanned::new(span, numbers)),
        })
    }
}
