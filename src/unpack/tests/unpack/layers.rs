//! Layers that must work.

use crate::room::Store;

#[test]
fn a_file_in_an_empty_layer() {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(5);
    header.set_mode(0o640);
    header.set_mtime(1000);
    builder.append_data(&mut header, "etc/a", &b"hello"[..]).unwrap();
    let tar = builder.into_inner().unwrap();
    let mut store = Store::new();
    let report = store.apply(&tar).unwrap();
    assert_eq!(report.entries, 2);
    assert_eq!(std::fs::read(store.first().join("etc/a")).unwrap(), b"hello");
}
