//! The networks behind the cards of a machine that is recorded.

use super::{Interest, NicSpec, UserNet};
use anyhow::Result;
use snapshots::Recorder;
use std::time::{Duration, Instant};
use vm::{CardConfig, Frame, Input, Machine, VmTime};

/// The cards of the command line, in its order.
pub fn cards(specs: &[NicSpec]) -> Vec<CardConfig> {
    let users = specs.iter().filter_map(|spec| match spec {
        NicSpec::User(nic) => Some(nic),
        NicSpec::None => None,
    });
    (0..).zip(users).map(|(index, nic)| nic.card(index)).collect()
}

/// The networks, each with the number of its card.
#[derive(Default)]
pub struct Networks {
    networks: Vec<(u8, UserNet)>,
    /// When waiting for the world began: by the host's clock and in virtual time.
    waiting_since: Option<(Instant, VmTime)>,
}

impl Networks {
    /// Opens what the cards are connected to; they are the first cards of the machine.
    pub fn open(specs: &[NicSpec]) -> Result<Networks> {
        let mut networks = Vec::new();
        for spec in specs {
            if let NicSpec::User(nic) = spec {
                networks.push((u8::try_from(networks.len())?, UserNet::open(nic)?));
            }
        }
        Ok(Networks { networks, waiting_since: None })
    }

    /// A card has sent a frame.
    pub fn from_guest(&mut self, card: u8, frame: &Frame, now: VmTime) {
        if let Some((_, network)) = self.networks.iter_mut().find(|(number, _)| *number == card) {
            network.from_guest(&frame.0, now);
        }
    }

    /// Takes what has come and injects what the cards can hold. True if there was anything.
    pub fn inject(&mut self, recorder: &mut Recorder<Machine>) -> Result<bool> {
        let mut any = false;
        for (card, network) in &mut self.networks {
            network.poll(recorder.now());
            while network.has_frames() && recorder.machine().board().can_receive(usize::from(*card)) {
                let Some(frame) = network.next_frame() else { break };
                recorder.inject(Input::Net { card: *card, frame: Frame(frame) })?;
                any = true;
            }
        }
        Ok(any)
    }

    /// Whether the world is expected to say something, or a card to take something.
    pub fn are_busy(&self) -> bool {
        self.networks.iter().any(|(_, network)| network.is_waiting() || network.has_frames())
    }

    /// Whether anything can come at all.
    pub fn are_open(&self) -> bool {
        self.networks.iter().any(|(_, network)| network.is_open())
    }

    /// What to wait for on the host.
    pub fn interests(&self) -> impl Iterator<Item = Interest<'_>> {
        self.networks.iter().flat_map(|(_, network)| network.interests())
    }

    /// How far virtual time is ahead of the host's since the world is waited for. A guest that sleeps would else see its
    /// time-outs pass before any answer can come.
    pub fn ahead(&mut self, now: VmTime) -> Duration {
        if !self.networks.iter().any(|(_, network)| network.is_waiting()) {
            self.waiting_since = None;
            return Duration::ZERO;
        }
        let (began, virtual_began) = *self.waiting_since.get_or_insert_with(|| (Instant::now(), now));
        Duration::from_nanos(now.0.saturating_sub(virtual_began.0)).saturating_sub(began.elapsed())
    }
}
