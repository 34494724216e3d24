//! Linux on the network while it is recorded, with its own drivers; the recording replays without any network.

use retrograde_tests::recordings::{LINUX_APPEND, info};
use retrograde_tests::retrograde::{ends_with, retrograde};
use retrograde_tests::{busybox_initrd_with_modules, debian_kernel};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::thread::JoinHandle;
use tempfile::tempdir;

/// What the guest fetches, several times the window of a connection.
fn page() -> String {
    (0..40_000).map(|line| format!("line {line}\n")).collect()
}

/// A web server on the host that answers `requests` requests and ends.
fn web_server(requests: usize) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        for _ in 0..requests {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            assert!(head[0].starts_with("GET /page "), "{head:?}");
            let body = page();
            let length = body.len();
            write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        }
    });
    (port, server)
}

/// Records Linux with a card, DHCP, ping and wget; what it says. The recording replays when the server is gone.
fn on_the_network(model: &str, modules: &[&str]) {
    let dir = tempdir().unwrap();
    let [script, recording] = ["script", "net.rgr"].map(|name| dir.path().join(name));
    let (port, server) = web_server(1);
    let commands = format!(
        "ip link set eth0 up; udhcpc -i eth0 -n -q; ping -c 2 10.0.2.2; \
         wget -q -O /tmp/page http://10.0.2.2:{port}/page; md5sum </tmp/page; wc -l </tmp/page; \
         wget -O - http://10.0.2.2:1/; echo do''ne"
    );
    let typed = format!(
        "wait serial RETROGRADE-GUEST-READY\nwait serial \"# \"\nsend {commands}\\n\nwait serial done\nsend poweroff -f\\n\n"
    );
    fs::write(&script, typed).unwrap();
    let mut command = retrograde(["record", "--rtc", "2024-01-01T00:00:00", "--no-reboot", "--nic"]);
    command.arg(format!("user,model={model}")).arg("--kernel").arg(debian_kernel());
    command
        .arg("--initrd")
        .arg(busybox_initrd_with_modules(&[&["af_packet"], modules].concat()))
        .args(["--append", LINUX_APPEND]);
    let outcome = ends_with(0, command.arg("--script").arg(&script).arg("-o").arg(&recording));
    let said = outcome.stdout;
    for text in
        ["bound-to-10.0.2.15", "2 packets received, 0% packet loss", "\n40000\r\n", "Connection refused"]
    {
        assert!(said.contains(text), "no {text:?}:\n{said}");
    }
    server.join().unwrap();
    replays(&recording, &said);
}

/// It replays, and says the same again.
fn replays(recording: &Path, said: &str) {
    assert_eq!(info(recording)["ended_by"], "power-off");
    let replayed = ends_with(0, retrograde(["replay", "--verify", "--console"]).arg(recording));
    assert_eq!(replayed.stdout, said);
}

#[test]
fn linux_with_an_e1000() {
    on_the_network("e1000", &["e1000"]);
}

#[test]
fn linux_with_an_ne2000() {
    on_the_network("ne2k_pci", &["ne2k_pci"]);
}

#[test]
fn linux_with_a_virtio_card() {
    on_the_network("virtio-net-pci", &["virtio_pci", "virtio_net"]);
}

#[test]
fn networks_that_there_are_not() {
    let dir = tempdir().unwrap();
    let recording = dir.path().join("never.rgr");
    for (network, says) in [
        ("user,model=rtl8139", "rtl8139"),
        ("tap", "tap"),
        ("user,hostfwd=udp::1-:1", "udp"),
        ("user,mac=zero", "zero"),
    ] {
        let outcome = ends_with(2, retrograde(["record", "--nic", network, "-o"]).arg(&recording));
        assert!(outcome.stderr.contains(says), "{network}: {}", outcome.stderr);
        assert!(!recording.exists());
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let network = format!("user,hostfwd=tcp:127.0.0.1:{port}-:22");
    let outcome = ends_with(1, retrograde(["record", "--nic", &network, "-o"]).arg(&recording));
    assert!(outcome.stderr.contains(&port.to_string()), "{}", outcome.stderr);
}
