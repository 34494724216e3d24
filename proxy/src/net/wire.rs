//! The wire as smoltcp sees it: frames in both directions that wait their turn.

use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use std::collections::VecDeque;

/// Frames that wait at most, in each direction: the stack sends no more until some are taken.
const FRAMES_MAX: usize = 256;
/// Header and payload of a frame.
const FRAME_BYTES: usize = 14 + 1500;

/// Frames on their way.
#[derive(Debug, Default)]
pub struct Wire {
    /// From the guest.
    inbound: VecDeque<Vec<u8>>,
    /// To the guest.
    outbound: VecDeque<Vec<u8>>,
}

impl Wire {
    /// A frame from the guest. If too many wait it is lost, as on any network.
    pub fn arrive(&mut self, frame: Vec<u8>) {
        if self.inbound.len() < FRAMES_MAX {
            self.inbound.push_back(frame);
        } else {
            tracing::debug!("a frame is lost: too many wait");
        }
    }

    /// A frame for the guest. If too many wait it is lost, as on any network.
    pub fn send(&mut self, frame: Vec<u8>) {
        if self.has_room() {
            self.outbound.push_back(frame);
        } else {
            tracing::debug!("a frame is lost: the guest takes none");
        }
    }

    /// The next frame for the guest.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        self.outbound.pop_front()
    }

    /// Whether a frame for the guest waits.
    pub fn is_waiting(&self) -> bool {
        !self.outbound.is_empty()
    }

    fn has_room(&self) -> bool {
        self.outbound.len() < FRAMES_MAX
    }
}

impl Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sender<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sender<'_>)> {
        if !self.has_room() {
            return None;
        }
        let frame = self.inbound.pop_front()?;
        Some((Received(frame), Sender(self)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sender<'_>> {
        self.has_room().then_some(Sender(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_BYTES;
        capabilities
    }
}

/// A frame from the guest.
pub struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

/// Room for a frame to the guest.
pub struct Sender<'a>(&'a mut Wire);

impl TxToken for Sender<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.outbound.push_back(frame);
        result
    }
}
