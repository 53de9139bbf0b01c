//! Archives by hand, the wrong ones too: a well-behaved writer would refuse to make them.

/// One header's fields, all open to abuse.
#[derive(Clone)]
pub struct Head {
    pub name: Vec<u8>,
    pub kind: u8,
    pub link: Vec<u8>,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub size: u64,
    pub magic: &'static [u8; 8],
}

pub const POSIX: &[u8; 8] = b"ustar\x0000";
pub const GNU: &[u8; 8] = b"ustar  \0";

impl Head {
    pub fn new(name: &str, kind: u8) -> Self {
        let mode = if kind == b'5' { 0o755 } else { 0o644 };
        Self { name: name.into(), kind, link: vec![], mode, uid: 0, gid: 0, size: 0, magic: POSIX }
    }

    pub fn block(&self) -> [u8; 512] {
        let mut block = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.name);
        put(100, format!("{:07o}\0", self.mode).as_bytes());
        put(108, format!("{:07o}\0", self.uid).as_bytes());
        put(116, format!("{:07o}\0", self.gid).as_bytes());
        put(124, format!("{:011o}\0", self.size).as_bytes());
        put(136, b"00000001750\0");
        put(156, &[self.kind]);
        put(157, &self.link);
        put(257, self.magic);
        seal(&mut block);
        block
    }
}

/// Writes the checksum.
pub fn seal(block: &mut [u8; 512]) {
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// An archive under construction.
#[derive(Clone, Default)]
pub struct Tar(pub Vec<u8>);

impl Tar {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn raw(mut self, head: &Head, content: &[u8]) -> Self {
        self.0.extend_from_slice(&head.block());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn file(self, name: &str, content: &str) -> Self {
        self.raw(&Head { size: content.len() as u64, ..Head::new(name, b'0') }, content.as_bytes())
    }

    pub fn dir(self, name: &str) -> Self {
        self.raw(&Head::new(name, b'5'), b"")
    }

    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.raw(&Head { link: target.into(), ..Head::new(name, b'2') }, b"")
    }

    pub fn hardlink(self, name: &str, target: &str) -> Self {
        self.raw(&Head { link: target.into(), ..Head::new(name, b'1') }, b"")
    }

    pub fn device(self, name: &str, kind: u8) -> Self {
        self.raw(&Head::new(name, kind), b"")
    }

    /// An extended header for the next entry.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let records: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        self.pax_raw(&records)
    }

    pub fn pax_raw(self, records: &[u8]) -> Self {
        self.raw(&Head { size: records.len() as u64, ..Head::new("pax", b'x') }, records)
    }

    pub fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// `LENGTH KEY=VALUE\n`, the length counting itself.
pub fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let body = key.len() + value.len() + 3;
    let length = (body..).find(|n| body + n.to_string().len() == *n).unwrap();
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}
