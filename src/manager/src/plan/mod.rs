//! Spec, image and host facts to jobs; pure.
