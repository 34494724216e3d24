//! Loading a kernel without firmware, as `-kernel` does.
