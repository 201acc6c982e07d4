//! Behaviour of the formats crate, seen from outside.

mod law;
