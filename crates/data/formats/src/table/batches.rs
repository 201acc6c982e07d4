use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};

use crate::FormatError;

/// A stream of Arrow record batches of one schema, made as they are taken.
///
/// It is a [`RecordBatchReader`], so everything of the Arrow world takes it.
pub struct Batches {
    schema: SchemaRef,
    batches: Box<dyn Iterator<Item = Result<RecordBatch, FormatError>> + Send>,
}

impl Batches {
    /// Batches of this schema; after an error nothing follows.
    pub fn new(schema: SchemaRef, batches: impl Iterator<Item = Result<RecordBatch, FormatError>> + Send + 'static) -> Self {
        let mut failed = false;
        let mut batches = batches;
        let until_error = std::iter::from_fn(move || {
            let next = if failed { None } else { batches.next() };
            failed = matches!(next, Some(Err(_)));
            next
        });
        Self { schema, batches: Box::new(until_error) }
    }

    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// The same with these columns only, in this order; all if none is named.
    pub fn select(self, columns: &[String]) -> Result<Self, FormatError> {
        if columns.is_empty() {
            return Ok(self);
        }
        let place = |name: &String| {
            let known = || self.schema.fields().iter().take(40).map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ");
            self.schema
                .index_of(name)
                .map_err(|_| FormatError::Query(format!("there is no column `{name}`; there are: {}", known())))
        };
        let places = columns.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        let arrow = |error: ArrowError| FormatError::Query(error.to_string());
        let schema = Arc::new(self.schema.project(&places).map_err(arrow)?);
        let batches = self.batches.map(move |batch| batch?.project(&places).map_err(arrow));
        Ok(Self { schema, batches: Box::new(batches) })
    }

    /// These batches and then those of `rest`, which must have the same columns.
    pub fn followed_by(self, rest: impl Iterator<Item = Result<Self, FormatError>> + Send + 'static) -> Self {
        let schema = self.schema.clone();
        let expected = self.schema;
        let same_columns =
            move |next: Result<Self, FormatError>| -> Box<dyn Iterator<Item = Result<RecordBatch, FormatError>> + Send> {
                match next {
                    Ok(next) if next.schema.fields() == expected.fields() => next.batches,
                    Ok(_) => {
                        let reason = "these slices have other columns than the ones before: read them on their own".to_owned();
                        Box::new(std::iter::once(Err(FormatError::Query(reason))))
                    }
                    Err(error) => Box::new(std::iter::once(Err(error))),
                }
            };
        Self::new(schema, self.batches.chain(rest.flat_map(same_columns)))
    }

    /// Writes them as an Arrow IPC stream.
    pub fn write_stream(self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        let failed = |error: ArrowError| match error {
            ArrowError::IoError(_, error) => error,
            other => std::io::Error::other(other),
        };
        let mut writer = arrow_ipc::writer::StreamWriter::try_new(out, &self.schema).map_err(failed)?;
        for batch in self.batches {
            writer.write(&batch?).map_err(failed)?;
        }
        writer.finish().map_err(failed)
    }

    /// The next batch, with the error of its format.
    pub fn next_batch(&mut self) -> Option<Result<RecordBatch, FormatError>> {
        self.batches.next()
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.batches.next()?.map_err(|error| ArrowError::ExternalError(Box::new(error))))
    }
}

impl RecordBatchReader for Batches {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}
