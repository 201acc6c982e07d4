//! neardata-compute
