//! neardata-hub
