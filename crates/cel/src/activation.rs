//! Activations: the values of variables.

use crate::value::Val;

/// Values of variables for one evaluation or several.
#[derive(Clone, Debug, Default)]
pub struct Activation<'a> {
    values: Vec<(&'a str, Val<'a>)>,
}

impl<'a> Activation<'a> {
    /// No variables.
    pub fn new() -> Self {
        Activation::default()
    }

    /// Binds a variable; the last value bound to a name counts.
    pub fn bind(&mut self, name: &'a str, value: Val<'a>) -> &mut Self {
        match self.values.iter_mut().find(|(n, _)| *n == name) {
            Some((_, old)) => *old = value,
            None => self.values.push((name, value)),
        }
        self
    }

    /// The same with a variable bound.
    #[must_use]
    pub fn with(mut self, name: &'a str, value: Val<'a>) -> Self {
        self.bind(name, value);
        self
    }

    /// The value of a variable. There are few: looking one by one is fastest.
    pub fn get(&self, name: &str) -> Option<&Val<'a>> {
        self.values.iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }
}
