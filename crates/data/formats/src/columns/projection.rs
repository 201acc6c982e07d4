use std::sync::Arc;

use arrow_schema::{FieldRef, Fields, Schema, SchemaRef};

use crate::FormatError;

/// Which columns are wanted: positions in the full schema, in the order asked for.
pub(super) struct Projection {
    pub(super) schema: SchemaRef,
    pub(super) wanted: Vec<usize>,
}

impl Projection {
    /// The named columns of `all`; all of them if none is named. A name that does not exist, or is named twice, is an error.
    pub(super) fn new(format: &str, all: Fields, names: &[String]) -> Result<Self, FormatError> {
        let wanted: Vec<usize> = match names {
            [] => (0..all.len()).collect(),
            _ => {
                let places: std::collections::HashMap<&str, usize> =
                    all.iter().enumerate().map(|(place, field)| (field.name().as_str(), place)).collect();
                let place = |name: &String| places.get(name.as_str()).copied().ok_or_else(|| no_column(format, &all, name));
                names.iter().map(place).collect::<Result<_, _>>()?
            }
        };
        let mut seen = vec![false; all.len()];
        if let Some(twice) = wanted.iter().find(|place| std::mem::replace(&mut seen[**place], true)) {
            return Err(FormatError::Query(format!("column `{}` is asked for twice", all[*twice].name())));
        }
        let fields: Vec<FieldRef> = wanted.iter().map(|place| Arc::clone(&all[*place])).collect();
        Ok(Self { schema: Arc::new(Schema::new(fields)), wanted })
    }

    /// For every column of the full schema, where it comes in what is wanted.
    pub(super) fn places(&self, all: usize) -> Vec<Option<usize>> {
        let mut places = vec![None; all];
        for (place, column) in self.wanted.iter().enumerate() {
            places[*column] = Some(place);
        }
        places
    }
}

fn no_column(format: &str, all: &Fields, name: &str) -> FormatError {
    const SHOWN: usize = 40;
    let known: Vec<&str> = all.iter().take(SHOWN).map(|field| field.name().as_str()).collect();
    let more = if all.len() > SHOWN { format!(", and {} more", all.len() - SHOWN) } else { String::new() };
    FormatError::Query(format!("{format} here has no column `{name}`; it has: {}{more}", known.join(", ")))
}
