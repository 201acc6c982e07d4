//! neardata-functions
