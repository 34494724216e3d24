//! Sound cards. Nobody hears them, and nobody speaks into them: they take and give samples at the right time.

pub mod ac97;
