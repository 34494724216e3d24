//! Commands of QMP that do something to a machine that is being recorded.

use super::message::{Arguments, Failure};
use crate::keys;
use crate::script::{Action, drive};
use serde_json::Value;
use vm::Slot;

/// Their names.
pub const NAMES: [&str; 5] =
    ["send-key", "eject", "blockdev-change-medium", "system_powerdown", "system_reset"];

/// What the command `name`, which is one of them, does.
pub fn action(name: &str, arguments: &mut Arguments) -> Result<Action, Failure> {
    Ok(match name {
        "send-key" => {
            let keys = keys_argument(arguments.take("keys")?)?;
            // Keys are held down as long as --type holds them.
            arguments.drop("hold-time");
            Action::Keys(vec![keys::chord(&keys.join("-")).map_err(Failure::generic)?])
        }
        "eject" => {
            let slot = drive_argument(arguments)?;
            // Nothing locks a drive against its user here.
            arguments.drop("force");
            Action::Change(slot, None)
        }
        "blockdev-change-medium" => {
            let slot = drive_argument(arguments)?;
            Action::Change(slot, Some(arguments.text("filename")?.into()))
        }
        "system_powerdown" => Action::Power,
        _ => Action::Reset,
    })
}

/// Keys by QEMU's names, as QMP has them: `{"type": "qcode", "data": "ret"}`.
fn keys_argument(value: Value) -> Result<Vec<String>, Failure> {
    let name = |key: &Value| match (key["type"].as_str(), key["data"].as_str()) {
        (Some("qcode"), Some(name)) => Some(name.to_owned()),
        _ => None,
    };
    let names: Option<Vec<String>> =
        value.as_array().map(Vec::as_slice).unwrap_or_default().iter().map(name).collect();
    names.filter(|names| !names.is_empty()).ok_or_else(|| {
        Failure::generic(
            "Parameter 'keys' is a list of keys, each as {\"type\": \"qcode\", \"data\": \"ret\"}",
        )
    })
}

/// The drive that `id` or `device` names, as QEMU does or as a script does.
fn drive_argument(arguments: &mut Arguments) -> Result<Slot, Failure> {
    let (id, device) = (arguments.optional_text("id")?, arguments.optional_text("device")?);
    let name = id.or(device).ok_or_else(|| Failure::generic("Parameter 'id' is missing"))?;
    let slot = match name.as_str() {
        "ide0-cd1" => Some(Slot::Hdb),
        "ide1-cd0" => Some(Slot::Hdc),
        "ide1-cd1" => Some(Slot::Hdd),
        "floppy0" => Some(Slot::Fda),
        "floppy1" => Some(Slot::Fdb),
        other => drive("id", other).ok(),
    };
    slot.ok_or_else(|| {
        Failure::generic(format!("Device '{name}' not found; there may be ide1-cd0, floppy0 and so on"))
    })
}
