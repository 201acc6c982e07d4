//! neardata-cli
