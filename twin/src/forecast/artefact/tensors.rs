//! Numbers by name: what a model puts into its file, and takes out of it again.

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, TensorView};

use super::ArtefactError;

/// Kinds of numbers that files hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::forecast) enum Data<'a> {
    /// Single precision.
    Single(&'a [f32]),
    /// Double precision.
    Double(&'a [f64]),
    /// Whole numbers.
    Whole(&'a [i32]),
}

/// Numbers that will be written, each with a name of its own.
#[derive(Debug, Default)]
pub struct Tensors {
    prefix: String,
    found: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
}

impl Tensors {
    /// Adds numbers, row by row.
    ///
    /// # Panics
    /// When there are not as many as the shape says, or the name is taken.
    pub(in crate::forecast) fn put(&mut self, name: &str, shape: &[usize], data: Data<'_>) {
        let (kind, bytes): (Dtype, Vec<u8>) = match data {
            Data::Single(values) => (Dtype::F32, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
            Data::Double(values) => (Dtype::F64, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
            Data::Whole(values) => (Dtype::I32, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        };
        assert_eq!(shape.iter().product::<usize>() * kind.bitsize() / 8, bytes.len(), "{name} has its shape");
        let before = self.found.insert(format!("{}{name}", self.prefix), (kind, shape.to_vec(), bytes));
        assert!(before.is_none(), "{name} is there once");
    }

    /// Adds what `fill` adds, with names that begin with `part`.
    pub(in crate::forecast) fn part<T>(&mut self, part: &str, fill: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.prefix.len();
        self.prefix.push_str(part);
        self.prefix.push('.');
        let filled = fill(self);
        self.prefix.truncate(length);
        filled
    }

    /// All of them, by name.
    pub(super) fn views(&self) -> Vec<(String, TensorView<'_>)> {
        let views = self.found.iter().map(|(name, (kind, shape, bytes))| {
            let view = TensorView::new(*kind, shape.clone(), bytes).expect("as many numbers as the shape says");
            (name.clone(), view)
        });
        views.collect()
    }
}

/// Numbers of a file, each of which can be taken once.
pub(in crate::forecast) struct Shelf<'a> {
    prefix: String,
    left: BTreeMap<String, TensorView<'a>>,
}

impl<'a> Shelf<'a> {
    pub(super) fn new(views: impl IntoIterator<Item = (String, TensorView<'a>)>) -> Self {
        Shelf { prefix: String::new(), left: views.into_iter().collect() }
    }

    /// Takes what `take` takes, from names that begin with `part`.
    pub(in crate::forecast) fn part<T>(&mut self, part: &str, take: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.prefix.len();
        self.prefix.push_str(part);
        self.prefix.push('.');
        let taken = take(self);
        self.prefix.truncate(length);
        taken
    }

    /// Takes finite numbers of single precision. `None` in the shape: however many there are.
    pub(in crate::forecast) fn single(
        &mut self,
        name: &str,
        shape: &[Option<usize>],
    ) -> Result<Vec<f32>, ArtefactError> {
        let view = self.take(name, Dtype::F32, shape)?;
        let values: Vec<f32> = view.data().as_chunks().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect();
        self.finite(name, values.iter().all(|value| value.is_finite()))?;
        Ok(values)
    }

    /// Takes finite numbers of double precision.
    pub(in crate::forecast) fn double(
        &mut self,
        name: &str,
        shape: &[Option<usize>],
    ) -> Result<Vec<f64>, ArtefactError> {
        let view = self.take(name, Dtype::F64, shape)?;
        let values: Vec<f64> = view.data().as_chunks().0.iter().map(|chunk| f64::from_le_bytes(*chunk)).collect();
        self.finite(name, values.iter().all(|value| value.is_finite()))?;
        Ok(values)
    }

    /// Takes whole numbers.
    pub(in crate::forecast) fn whole(
        &mut self,
        name: &str,
        shape: &[Option<usize>],
    ) -> Result<Vec<i32>, ArtefactError> {
        let view = self.take(name, Dtype::I32, shape)?;
        Ok(view.data().as_chunks().0.iter().map(|chunk| i32::from_le_bytes(*chunk)).collect())
    }

    /// Says so where something is left that nobody has asked for.
    pub(in crate::forecast) fn done(&self) -> Result<(), ArtefactError> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(name) => {
                Err(ArtefactError::Numbers { name: name.clone(), problem: "no such model has them".to_owned() })
            }
        }
    }

    /// That numbers are not what they have to be.
    pub(in crate::forecast) fn problem(&self, name: &str, problem: impl ToString) -> ArtefactError {
        ArtefactError::Numbers { name: format!("{}{name}", self.prefix), problem: problem.to_string() }
    }

    fn finite(&self, name: &str, all: bool) -> Result<(), ArtefactError> {
        if all { Ok(()) } else { Err(self.problem(name, "not all of them are finite")) }
    }

    fn take(&mut self, name: &str, kind: Dtype, shape: &[Option<usize>]) -> Result<TensorView<'a>, ArtefactError> {
        let view = self.left.remove(&format!("{}{name}", self.prefix));
        let view = view.ok_or_else(|| self.problem(name, "they are missing"))?;
        let fits = view.shape().len() == shape.len()
            && view.shape().iter().zip(shape).all(|(has, wanted)| wanted.is_none_or(|wanted| wanted == *has));
        if view.dtype() != kind || !fits {
            let wanted: Vec<String> =
                shape.iter().map(|size| size.map_or("any".to_owned(), |size| size.to_string())).collect();
            let found = format!("{:?} {:?}, allowed is {kind:?} [{}]", view.dtype(), view.shape(), wanted.join(", "));
            return Err(self.problem(name, found));
        }
        Ok(view)
    }
}
