//! The CPU: the one door to the engine, and what makes the engine the CPU of a PC.

pub mod state;
