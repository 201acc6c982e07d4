//! neardata-store
