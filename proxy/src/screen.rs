//! `retrograde screen`: the screen at a place of a recording.

use crate::cli::ScreenArgs;
use crate::open;
use crate::place::Place;
use anyhow::{Context, Result, bail};
use snapshots::{Recording, Timeline};
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use vm::{Icount, Picture};

/// Runs the subcommand; the exit status.
pub fn run(args: &ScreenArgs) -> Result<u8> {
    let (name, recording) = open::recording(&args.file, &args.media)?;
    if args.output.as_deref().is_some_and(|output| is_same(output, &args.file)) {
        bail!("-o: {name} is the recording itself; give the picture a name of its own");
    }
    let position = position(&recording, args.at)?;
    let mut timeline = Timeline::new(recording)?;
    timeline.seek(position, &mut || false).with_context(|| format!("{name} does not replay"))?;
    let machine = timeline.machine();
    let picture = machine.picture().with_context(|| format!("{name}: the machine has no display adapter"))?;
    if let Some(output) = &args.output {
        write_png(output, &picture)?;
    }
    if args.text {
        let Some(text) = machine.screen_text() else {
            bail!("{name}: the screen shows graphics there, and no text; -o FILE.png makes a picture of it");
        };
        crate::say!("{}", text.join("\n"));
    }
    Ok(0)
}

fn is_same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn position(recording: &Recording, at: Place) -> Result<Icount> {
    let bounds = open::bounds(recording);
    let position = at.position(bounds.end, bounds, &mut |at| recording.time_at(at))?;
    position
        .with_context(|| format!("--at: the recording ends at position {}, {}", bounds.end, bounds.end_time))
}

/// Writes a picture to a PPM file (netpbm's "raw" PPM, 8 bits a channel).
pub fn write_ppm(path: &Path, picture: &Picture) -> Result<()> {
    let header = format!("P6\n{} {}\n255\n", picture.width, picture.height);
    std::fs::write(path, [header.as_bytes(), &picture.rgb].concat())
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a picture to a PNG file.
pub fn write_png(path: &Path, picture: &Picture) -> Result<()> {
    let shown = path.display();
    let file = File::create(path).with_context(|| format!("cannot create {shown}"))?;
    let mut encoder = png::Encoder::new(BufWriter::new(file), picture.width, picture.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().with_context(|| format!("cannot write {shown}"))?;
    writer.write_image_data(&picture.rgb).with_context(|| format!("cannot write {shown}"))?;
    writer.finish().with_context(|| format!("cannot write {shown}"))
}
