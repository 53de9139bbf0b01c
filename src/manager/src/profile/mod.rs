//! Seccomp profiles: TOML to classic BPF; pure.
