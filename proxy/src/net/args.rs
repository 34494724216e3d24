//! `--nic`: which card, and what is at the other end of its wire.

use super::dhcp;
use crate::units::parse_count;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use vm::CardConfig;
use vm::config::Mac;

/// What a card without an address of its own gets: QEMU's first, and those after it.
const FIRST_MAC: Mac = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];

/// A network card as the command line says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NicSpec {
    /// No card.
    None,
    /// A card whose other end is the user-space stack.
    User(UserNic),
}

/// A network card of the user-space stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserNic {
    model: Model,
    mac: Option<Mac>,
    /// Ports of the host that lead to the guest.
    pub forwards: Vec<Forward>,
    /// The directory whose files the gateway gives by TFTP.
    pub tftp: Option<PathBuf>,
    /// What DHCP tells the guest to start.
    pub boot_file: String,
}

/// A card by QEMU's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Model {
    #[default]
    E1000,
    Ne2kPci,
    Virtio,
}

/// A TCP port of the host whose connections go to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Where to listen on the host.
    pub listen: SocketAddrV4,
    /// Where the guest is.
    pub guest: SocketAddrV4,
}

impl UserNic {
    /// The card, the `index`th network card of its machine.
    pub fn card(&self, index: u8) -> CardConfig {
        let [a, b, c, d, e, last] = FIRST_MAC;
        let mac = self.mac.unwrap_or([a, b, c, d, e, last.wrapping_add(index)]);
        match self.model {
            Model::E1000 => CardConfig::E1000 { mac },
            Model::Ne2kPci => CardConfig::Ne2kPci { mac },
            Model::Virtio => CardConfig::VirtioNet { mac },
        }
    }
}

impl FromStr for NicSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<NicSpec, String> {
        let mut parts = text.split(',');
        match parts.next() {
            Some("none") if parts.next().is_none() => return Ok(NicSpec::None),
            Some("user") => {}
            other => {
                return Err(format!(
                    "there is no network `{}`; there are user and none",
                    other.unwrap_or("")
                ));
            }
        }
        let mut nic = UserNic {
            model: Model::default(),
            mac: None,
            forwards: Vec::new(),
            tftp: None,
            boot_file: String::new(),
        };
        for part in parts {
            match part.split_once('=') {
                Some(("model", name)) => nic.model = name.parse()?,
                Some(("mac", text)) => nic.mac = Some(parse_mac(text)?),
                Some(("hostfwd", text)) => nic.forwards.push(text.parse()?),
                Some(("tftp", dir)) if Path::new(dir).is_dir() => nic.tftp = Some(dir.into()),
                Some(("tftp", dir)) => return Err(format!("tftp: `{dir}` is no directory")),
                Some(("bootfile", name)) if name.len() <= dhcp::BOOT_FILE_MAX => {
                    name.clone_into(&mut nic.boot_file)
                }
                Some(("bootfile", _)) => {
                    return Err(format!("bootfile: a name has at most {} bytes", dhcp::BOOT_FILE_MAX));
                }
                // A name for QEMU's monitor.
                Some(("id", _)) => {}
                _ => {
                    return Err(format!(
                        "`{part}` is none of model=NAME, mac=ADDRESS, hostfwd=tcp:[ADDR]:PORT-[GUEST]:PORT, tftp=DIR, bootfile=NAME"
                    ));
                }
            }
        }
        Ok(NicSpec::User(nic))
    }
}

impl FromStr for Model {
    type Err = String;

    fn from_str(name: &str) -> Result<Model, String> {
        match name {
            "e1000" => Ok(Model::E1000),
            "ne2k_pci" => Ok(Model::Ne2kPci),
            // QEMU's short name for it too.
            "virtio-net-pci" | "virtio" => Ok(Model::Virtio),
            _ => Err(format!(
                "there is no network card `{name}`; there are e1000, ne2k_pci and virtio-net-pci"
            )),
        }
    }
}

fn parse_mac(text: &str) -> Result<Mac, String> {
    let bad = || format!("`{text}` is no station address; write for example mac=52:54:00:12:34:56");
    let bytes: Option<Vec<u8>> = text
        .split([':', '-'])
        .map(|part| u8::from_str_radix(part, 16).ok().filter(|_| part.len() <= 2 && !part.starts_with('+')))
        .collect();
    let mac: Mac = bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(bad)?;
    if mac[0] & 1 != 0 {
        return Err(format!("`{text}` is the address of a group, not of one station"));
    }
    Ok(mac)
}

impl FromStr for Forward {
    type Err = String;

    fn from_str(text: &str) -> Result<Forward, String> {
        let bad = || format!("hostfwd: `{text}` is not as tcp:[ADDR]:PORT-[GUEST]:PORT");
        let (protocol, rest) = text.split_once(':').ok_or_else(bad)?;
        if protocol != "tcp" {
            return Err(format!("hostfwd: `{protocol}` is not forwarded; tcp is"));
        }
        let (listen, guest) = rest.split_once('-').ok_or_else(bad)?;
        let end = |text: &str, default| {
            let (address, port) = text.split_once(':')?;
            let address = if address.is_empty() { default } else { address.parse().ok()? };
            Some(SocketAddrV4::new(address, u16::try_from(parse_count(port).ok()?).ok()?))
        };
        let listen = end(listen, Ipv4Addr::UNSPECIFIED).ok_or_else(bad)?;
        let guest = end(guest, super::GUEST).filter(|guest| guest.port() != 0).ok_or_else(bad)?;
        Ok(Forward { listen, guest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(text: &str) -> UserNic {
        match text.parse() {
            Ok(NicSpec::User(nic)) => nic,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn cards_are_named_as_in_qemu() {
        assert_eq!("none".parse(), Ok(NicSpec::None));
        assert_eq!(user("user").card(1), CardConfig::E1000 { mac: [0x52, 0x54, 0, 0x12, 0x34, 0x57] });
        let nic = user("user,id=n0,model=ne2k_pci,mac=02:00:00:00:00:0a");
        assert_eq!(nic.card(0), CardConfig::Ne2kPci { mac: [2, 0, 0, 0, 0, 10] });
        for (bad, named) in [
            ("tap", "tap"),
            ("user,model=rtl8139", "rtl8139"),
            ("user,mac=1:2:3", "1:2:3"),
            ("user,mac=01:00:00:00:00:00", "group"),
            ("user,restrict=on", "restrict=on"),
            ("user,tftp=/nowhere", "/nowhere"),
            ("none,model=e1000", "none"),
            ("", "user and none"),
        ] {
            let error = bad.parse::<NicSpec>().unwrap_err();
            assert!(error.contains(named), "{bad}: {error}");
        }
    }

    #[test]
    fn ports_are_forwarded_as_in_qemu() {
        let nic = user("user,hostfwd=tcp::2222-:22,hostfwd=tcp:127.0.0.1:80-10.0.2.20:8080");
        let ends = |listen: &str, guest: &str| Forward {
            listen: listen.parse().unwrap(),
            guest: guest.parse().unwrap(),
        };
        assert_eq!(
            nic.forwards,
            [ends("0.0.0.0:2222", "10.0.2.15:22"), ends("127.0.0.1:80", "10.0.2.20:8080")]
        );
        for bad in
            ["udp::1-:2", "tcp::1", "tcp:1-2", "tcp::x-:2", "tcp::1-:0", "tcp::70000-:1", "tcp:host:1-:2"]
        {
            assert!(bad.parse::<Forward>().is_err(), "{bad}");
        }
    }
}
