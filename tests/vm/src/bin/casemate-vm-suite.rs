//! The side of `make test-vm` that is booted: see [`casemate_vm::guest`].

fn main() {
    casemate_vm::guest::main();
}
