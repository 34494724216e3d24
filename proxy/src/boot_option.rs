//! `--boot`, as QEMU has it.

use vm::{BootDevice, BootOptions};

/// How the firmware boots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Boot {
    /// What it tries.
    pub order: [Option<BootDevice>; 3],
    /// The rest.
    pub options: BootOptions,
}

/// Reads the option.
pub fn parse_boot(text: &str) -> Result<Boot, String> {
    let mut boot = Boot { order: parse_order("cad")?, ..Boot::default() };
    for (i, part) in text.split(',').enumerate() {
        let (name, value) = match part.split_once('=') {
            Some(option) => option,
            None if i == 0 => ("order", part),
            None => return Err(format!("`{part}`: write NAME=VALUE")),
        };
        let options = &mut boot.options;
        match name {
            "order" => boot.order = parse_order(value)?,
            "once" => options.once = Some(parse_order(value)?),
            "menu" => options.menu = parse_switch(part, value)?,
            "strict" => options.strict = parse_switch(part, value)?,
            "splash-time" => options.menu_wait_ms = Some(parse_milliseconds(part, value)?),
            // As for QEMU: never.
            "reboot-timeout" if value == "-1" => options.retry_ms = None,
            "reboot-timeout" => options.retry_ms = Some(parse_milliseconds(part, value)?),
            _ => {
                return Err(format!(
                    "there is no `{name}`; there are order, once, menu, strict, splash-time and reboot-timeout"
                ));
            }
        }
    }
    Ok(boot)
}

fn parse_order(letters: &str) -> Result<[Option<BootDevice>; 3], String> {
    let usage =
        || format!("`{letters}`: write up to three different letters of a, c, d and n, for example order=dc");
    let mut order = [None; 3];
    for (i, letter) in letters.chars().enumerate() {
        let device = match letter {
            'a' => BootDevice::Floppy,
            'c' => BootDevice::Disk,
            'd' => BootDevice::Cd,
            'n' => BootDevice::Network,
            _ => return Err(usage()),
        };
        if order.contains(&Some(device)) {
            return Err(usage());
        }
        *order.get_mut(i).ok_or_else(usage)? = Some(device);
    }
    if letters.is_empty() { Err(usage()) } else { Ok(order) }
}

fn parse_switch(option: &str, value: &str) -> Result<bool, String> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("`{option}`: write on or off")),
    }
}

fn parse_milliseconds(option: &str, value: &str) -> Result<u16, String> {
    value.parse().map_err(|_| format!("`{option}`: write milliseconds, 0 to 65535"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_order_is_read_as_it_is_for_qemu() {
        let order = |text| parse_boot(text).map(|boot| boot.order);
        assert_eq!(order("order=dc"), Ok([Some(BootDevice::Cd), Some(BootDevice::Disk), None]));
        assert_eq!(order("n"), Ok([Some(BootDevice::Network), None, None]));
        for bad in
            ["", "order=", "order=x", "cc", "acdn", "menu=1", "menu=on,dc", "splash-time=-1", "color=on"]
        {
            assert!(order(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn booting_has_options() {
        let boot = parse_boot("once=d,menu=on,splash-time=1500,strict=on,reboot-timeout=20").unwrap();
        assert_eq!(boot.order, [Some(BootDevice::Disk), Some(BootDevice::Floppy), Some(BootDevice::Cd)]);
        let expected = BootOptions {
            once: Some([Some(BootDevice::Cd), None, None]),
            menu: true,
            menu_wait_ms: Some(1500),
            retry_ms: Some(20),
            strict: true,
        };
        assert_eq!(boot.options, expected);
        assert_eq!(parse_boot("reboot-timeout=-1").unwrap().options, BootOptions::default());
    }
}
