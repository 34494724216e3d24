//! Synthetic kernel images.

/// A Linux kernel as far as a loader looks at it.
pub struct BzImage {
    pub version: u16,
    pub setup_sects: u8,
    pub loadflags: u8,
    pub relocatable: u8,
    pub alignment: u32,
    pub initrd_addr_max: u32,
    pub payload: Vec<u8>,
}

impl Default for BzImage {
    fn default() -> Self {
        BzImage {
            version: 0x20f,
            setup_sects: 1,
            loadflags: 1,
            relocatable: 1,
            alignment: 0x20_0000,
            initrd_addr_max: 0x7fff_ffff,
            payload: (0..4096).map(|n| (n * 7 + 1) as u8).collect(),
        }
    }
}

impl BzImage {
    pub fn build(&self) -> Vec<u8> {
        let mut file = vec![0; (usize::from(self.setup_sects) + 1) * 512];
        let mut set = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        set(0x1f1, &[self.setup_sects]);
        set(0x1f4, &((self.payload.len() / 16) as u32).to_le_bytes());
        set(0x1fe, b"\x55\xaa\xeb\x6aHdrS"); // the header reaches to 0x26c
        set(0x206, &self.version.to_le_bytes());
        set(0x211, &[self.loadflags]);
        set(0x214, &0x10_0000u32.to_le_bytes());
        set(0x22c, &self.initrd_addr_max.to_le_bytes());
        set(0x230, &self.alignment.to_le_bytes());
        set(0x234, &[self.relocatable]);
        set(0x238, &2047u32.to_le_bytes());
        set(0x258, &0x100_0000u64.to_le_bytes());
        set(0x260, &0x20_0000u32.to_le_bytes());
        file.extend_from_slice(&self.payload);
        file
    }
}

/// A Multiboot kernel in an ELF file with one segment.
pub struct Elf {
    pub class: u8,
    pub machine: u16,
    pub magic: u32,
    pub flags: u32,
    pub vaddr: u32,
    pub paddr: u32,
    pub entry: u32,
    pub mem_size: u32,
    pub code: Vec<u8>,
}

impl Default for Elf {
    fn default() -> Self {
        Elf {
            class: 1,
            machine: 3,
            magic: 0x1bad_b002,
            flags: 0x3,
            vaddr: 0x10_0000,
            paddr: 0x10_0000,
            entry: 0x10_0010,
            mem_size: 0x3000,
            code: (0..512).map(|n| (n * 3 + 5) as u8).collect(),
        }
    }
}

impl Elf {
    /// ELF header, program header, Multiboot header, code.
    pub fn build(&self) -> Vec<u8> {
        let code_at = 52 + 32 + 12;
        let mut file = Vec::new();
        file.extend_from_slice(b"\x7fELF");
        file.extend_from_slice(&[self.class, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for half in [2, self.machine] {
            file.extend_from_slice(&half.to_le_bytes());
        }
        for word in [1, self.entry, 52, 0, 0] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        for half in [52u16, 32, 1, 0, 0, 0] {
            file.extend_from_slice(&half.to_le_bytes());
        }
        let len = self.code.len() as u32;
        for word in [1, code_at, self.vaddr, self.paddr, len, self.mem_size, 7, 4096] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        let checksum = 0u32.wrapping_sub(self.magic).wrapping_sub(self.flags);
        for word in [self.magic, self.flags, checksum] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        file.extend_from_slice(&self.code);
        file
    }
}

/// A kernel with address fields, whose image starts four bytes into the file.
pub fn aout_kludge(load_addr: u32, entry: u32) -> Vec<u8> {
    let (magic, flags) = (0x1bad_b002u32, 0x1_0000u32);
    let mut file = vec![0xee; 8];
    let checksum = 0u32.wrapping_sub(magic).wrapping_sub(flags);
    let header_addr = load_addr + 4;
    for word in [magic, flags, checksum, header_addr, load_addr, load_addr + 64, load_addr + 4096, entry] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.resize(128, 0x90);
    file
}
