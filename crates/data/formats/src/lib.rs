//! neardata-formats
