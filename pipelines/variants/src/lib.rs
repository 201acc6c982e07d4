//! neardata-variants
