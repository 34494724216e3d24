//! The target description that tells a debugger which registers there are (GDB manual, appendix "Target Descriptions").

use super::arch::Width;
use super::regs::{Feature, Layout};
use std::fmt::Write;

/// EFLAGS bits by number (Intel SDM vol. 1, 3.4.3).
const EFLAGS: [(&str, u8); 16] = [
    ("CF", 0),
    ("PF", 2),
    ("AF", 4),
    ("ZF", 6),
    ("SF", 7),
    ("TF", 8),
    ("IF", 9),
    ("DF", 10),
    ("OF", 11),
    ("NT", 14),
    ("RF", 16),
    ("VM", 17),
    ("AC", 18),
    ("VIF", 19),
    ("VIP", 20),
    ("ID", 21),
];

/// MXCSR bits by number (Intel SDM vol. 1, 10.2.3).
const MXCSR: [(&str, u8); 14] = [
    ("IE", 0),
    ("DE", 1),
    ("ZE", 2),
    ("OE", 3),
    ("UE", 4),
    ("PE", 5),
    ("DAZ", 6),
    ("IM", 7),
    ("DM", 8),
    ("ZM", 9),
    ("OM", 10),
    ("UM", 11),
    ("PM", 12),
    ("FZ", 15),
];

/// Vector types: name, element type, count.
const VECTORS: [(&str, &str, u8); 6] = [
    ("v4f", "ieee_single", 4),
    ("v2d", "ieee_double", 2),
    ("v16i8", "int8", 16),
    ("v8i16", "int16", 8),
    ("v4i32", "int32", 4),
    ("v2i64", "int64", 2),
];

/// `target.xml` for a register layout.
pub fn target_xml(layout: &Layout) -> String {
    let architecture = match layout.width {
        Width::Bits64 => "i386:x86-64",
        Width::Bits32 => "i386",
        Width::Bits16 => "i8086",
    };
    let mut features = String::new();
    for feature in [Feature::Core, Feature::Sse, Feature::Segments, Feature::System] {
        features.push_str(&feature_xml(layout, feature));
    }
    format!(
        "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target version=\"1.0\">\n\
         <architecture>{architecture}</architecture>\n<osabi>none</osabi>\n{features}</target>\n"
    )
}

fn feature_xml(layout: &Layout, feature: Feature) -> String {
    let (name, types) = match feature {
        Feature::Core => ("org.gnu.gdb.i386.core", flags_xml("i386_eflags", &EFLAGS)),
        Feature::Sse => ("org.gnu.gdb.i386.sse", sse_types()),
        Feature::Segments => ("org.gnu.gdb.i386.segments", String::new()),
        Feature::System => ("org.retrograde.i386.system", String::new()),
    };
    let mut regs = String::new();
    for (number, reg) in layout.regs.iter().enumerate().filter(|(_, r)| r.feature == feature) {
        let group = reg.group.map_or_else(String::new, |g| format!(" group=\"{g}\""));
        // LLDB shows what a pointer points to twice, unless it is told that it is a number. GDB does not know this.
        let format = if reg.kind.ends_with("_ptr") { " encoding=\"uint\" format=\"hex\"" } else { "" };
        // Writing to a String cannot fail.
        let _ = writeln!(
            regs,
            "<reg name=\"{}\" bitsize=\"{}\" type=\"{}\" regnum=\"{number}\"{group}{format}/>",
            reg.name, reg.bits, reg.kind
        );
    }
    if regs.is_empty() { regs } else { format!("<feature name=\"{name}\">\n{types}{regs}</feature>\n") }
}

fn flags_xml(id: &str, fields: &[(&str, u8)]) -> String {
    let fields: String = fields
        .iter()
        .map(|(name, bit)| format!("<field name=\"{name}\" start=\"{bit}\" end=\"{bit}\"/>\n"))
        .collect();
    format!("<flags id=\"{id}\" size=\"4\">\n{fields}</flags>\n")
}

fn sse_types() -> String {
    let vectors: String = VECTORS
        .iter()
        .map(|(id, kind, n)| format!("<vector id=\"{id}\" type=\"{kind}\" count=\"{n}\"/>\n"))
        .collect();
    let names = ["v4_float", "v2_double", "v16_int8", "v8_int16", "v4_int32", "v2_int64"];
    let fields: String = names
        .iter()
        .zip(VECTORS)
        .map(|(name, (id, ..))| format!("<field name=\"{name}\" type=\"{id}\"/>\n"))
        .collect();
    let whole = "<field name=\"uint128\" type=\"uint128\"/>\n";
    format!("{vectors}<union id=\"vec128\">\n{fields}{whole}</union>\n{}", flags_xml("i386_mxcsr", &MXCSR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_register_is_described_once_with_its_number() {
        for width in [Width::Bits16, Width::Bits32, Width::Bits64] {
            let layout = Layout::new(width);
            let xml = target_xml(&layout);
            for (number, reg) in layout.regs.iter().enumerate() {
                let entry = format!("<reg name=\"{}\" bitsize=\"{}\" ", reg.name, reg.bits);
                assert_eq!(xml.matches(&entry).count(), 1, "{entry}");
                assert!(xml.contains(&format!("regnum=\"{number}\"")));
            }
        }
    }

    #[test]
    fn the_architecture_is_named_as_gdb_knows_it() {
        assert!(target_xml(&Layout::new(Width::Bits16)).contains("<architecture>i8086</architecture>"));
        assert!(target_xml(&Layout::new(Width::Bits32)).contains("<architecture>i386</architecture>"));
        assert!(target_xml(&Layout::new(Width::Bits64)).contains("<architecture>i386:x86-64</architecture>"));
    }
}
