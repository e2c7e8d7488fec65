//! What outlives the process: the store, and what an operator does with it.

mod commands;
