//! The way out of a log that is damaged.

use std::collections::BTreeMap;

use super::crashes::copy;
use super::*;

/// The contents of all files of records below a directory, by where they are.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else if path.extension().is_some_and(|extension| extension == "segment") {
            all.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    all
}

/// A log of 40 records of which 3 are done with. In one file a record is damaged, of another the header is, and one is
/// missing. Returns the values that can be saved, and the numbers of the others.
fn damaged_log(directory: &Directory) -> (Vec<Vec<u8>>, Vec<u64>) {
    let (log, _) = open(directory);
    for number in 1..=40_u8 {
        assert_eq!(append(&log, &[number; 200]), Outcome::Durable);
    }
    stop(&log);
    let files = segment::list(&directory.0).unwrap();
    assert!(files.len() >= 6, "{files:?}");
    let checkpoint = Checkpoint { done: 3, next: 41, newest: files.last().map(|(first, _)| *first) };
    checkpoint::write(&Disk::default(), &directory.0, &checkpoint).unwrap();
    let damage = |index: usize, at: usize| {
        let mut bytes = fs::read(&files[index].1).unwrap();
        bytes[at] ^= 1;
        fs::write(&files[index].1, bytes).unwrap();
    };
    damage(1, SEGMENT_HEADER + 100);
    damage(2, 10);
    fs::remove_file(&files[4].1).unwrap();
    let mut missing = vec![files[1].0];
    missing.extend(files[4].0..files[5].0);
    let saved = (4..=40).filter(|number| !missing.contains(number));
    (saved.map(|number| vec![u8::try_from(number).unwrap(); 200]).collect(), missing)
}

/// What.
fn undrained(directory: &Directory) -> Vec<Vec<u8>> {
    let state = inspected(&directory.0).unwrap();
    let skip = usize::try_from(state.segments().done + 1 - state.segments().list[0].first).unwrap();
    values(directory).split_off(skip)
}

#[test]
fn what_can_be_read_goes_on_and_what_was_there_is_kept() {
    let directory = Directory::new("salvage");
    let (wanted, missing) = damaged_log(&directory);
    let before = contents(&directory.0);
    let mut told = Vec::new();
    let error = check(&directory.0, &|_| true, &mut told).unwrap().unwrap_err();
    assert!(
        error.salvage_helps
            && error.what.starts_with(&format!("{} is damaged at byte 36", paths(&directory)[1].display())),
        "{error}"
    );
    let told = String::from_utf8(told).unwrap();
    let files: Vec<_> = before.keys().map(|path| path.display()).collect();
    for line in [
        format!("{}: good, records 1 to ", files[0]),
        format!("{}: damaged at byte 36 of ", files[1]),
        "no record before it, ".to_owned(),
        format!("{}: damaged at byte 0 of ", files[2]),
    ] {
        assert!(told.contains(&line), "{line}\n{told}");
    }
    assert_eq!(contents(&directory.0), before);

    let salvaged = salvage(&directory.0, SEGMENT_BYTES, &|_| true).unwrap();
    assert_eq!(salvaged.records, wanted.len() as u64);
    assert_eq!(salvaged.missing.iter().cloned().flatten().collect::<Vec<_>>(), missing);
    let kept = salvaged.kept.unwrap();
    for (path, bytes) in &before {
        assert_eq!(&fs::read(kept.join(path.file_name().unwrap())).unwrap(), bytes);
    }
    check(&directory.0, &|_| true, &mut Vec::new()).unwrap().unwrap();
    assert_eq!(undrained(&directory), wanted);
    assert!(paths(&directory).len() > 3);
    // Nothing is wrong any more.
    assert_eq!(salvage(&directory.0, SEGMENT_BYTES, &|_| true).unwrap(), Salvaged::default());
    let (log, recovered) = open(&directory);
    assert_eq!((recovered.records, recovered.payloads.len()), (wanted.len() as u64, wanted.len()));
    assert_eq!(append(&log, b"more"), Outcome::Durable);
    stop(&log);
}

/// As where the first block of a file is lost.
#[test]
fn a_file_without_its_beginning_gives_the_rest() {
    let directory = Directory::new("salvage-beginning");
    let (log, _) = open_sized(&directory.0, &Disk::default(), 1 << 20).unwrap();
    for number in 1..=100_u8 {
        assert_eq!(append(&log, &[number; 50]), Outcome::Durable);
    }
    stop(&log);
    let path = paths(&directory).pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[..512].fill(0);
    fs::write(&path, &bytes).unwrap();
    assert!(error(&directory).contains("damaged at byte 0"));
    let salvaged = salvage(&directory.0, SEGMENT_BYTES, &|_| true).unwrap();
    assert!(salvaged.records > 90, "{salvaged:?}");
    assert_eq!(salvaged.missing, [1..=100 - salvaged.records]);
    let wanted: Vec<_> =
        (101 - salvaged.records..=100).map(|number| vec![u8::try_from(number).unwrap(); 50]).collect();
    assert_eq!(undrained(&directory), wanted);
}

#[test]
fn without_a_newest_file_and_without_a_checkpoint_the_rest_goes_on() {
    let directory = Directory::new("salvage-newest");
    let (log, _) = open(&directory);
    for number in 1..=40_u8 {
        assert_eq!(append(&log, &[number; 200]), Outcome::Durable);
    }
    stop(&log);
    as_if_killed(&directory);
    let files = segment::list(&directory.0).unwrap();
    let (last, newest) = files.last().unwrap();
    fs::remove_file(newest).unwrap();
    let salvaged = salvage(&directory.0, SEGMENT_BYTES, &|_| true).unwrap();
    assert_eq!((salvaged.records, salvaged.missing.len()), (last - 1, 0));
    assert_eq!(salvaged.missing_file.as_ref(), Some(newest));

    fs::remove_file(checkpoint::path(&directory.0)).unwrap();
    assert!(paths(&directory).len() > 2);
    fs::remove_file(&paths(&directory)[1]).unwrap();
    let salvaged = salvage(&directory.0, SEGMENT_BYTES, &|_| true).unwrap();
    assert_eq!(salvaged.missing.len(), 1);
    assert_eq!(values(&directory).len() as u64, salvaged.records);
    assert_eq!(open(&directory).1.records, salvaged.records);
}

#[test]
fn files_that_have_each_others_names_are_put_in_order() {
    let directory = Directory::new("salvage-names");
    let (log, _) = open(&directory);
    let wanted: Vec<Vec<u8>> = (1..=40_u8).map(|number| vec![number; 200]).collect();
    for value in &wanted {
        assert_eq!(append(&log, value), Outcome::Durable);
    }
    stop(&log);
    let files = paths(&directory);
    let away = files[0].with_extension("away");
    for (from, to) in [(&files[0], &away), (&files[2], &files[0]), (&away, &files[2])] {
        fs::rename(from, to).unwrap();
    }
    assert!(error(&directory).contains("wanted record 1 at byte"));
    let salvaged = salvage(&directory.0, SEGMENT_BYTES, &|_| true).unwrap();
    assert_eq!((salvaged.records, salvaged.missing.len()), (40, 0));
    assert_eq!(undrained(&directory), wanted);
}

/// A directory that begins anew with the same numbers, such as one that was restored.
#[test]
fn a_salvage_leaves_what_an_earlier_one_kept() {
    let directory = Directory::new("salvage-twice");
    let mut kept: Vec<(PathBuf, BTreeMap<PathBuf, Vec<u8>>)> = Vec::new();
    for _ in 0..3 {
        let (wanted, _) = damaged_log(&directory);
        let salvaged = salvage(&directory.0, SEGMENT_BYTES, &|_| true).unwrap();
        assert_eq!(undrained(&directory), wanted);
        let place = salvaged.kept.unwrap();
        assert!(kept.iter().all(|(earlier, _)| *earlier != place), "{}", place.display());
        kept.push((place.clone(), contents(&place)));
        for (place, before) in &kept {
            assert_eq!(&contents(place), before);
        }
        assert!(!directory.0.join("salvage").exists());
        for path in paths(&directory) {
            fs::remove_file(path).unwrap();
        }
        fs::remove_file(checkpoint::path(&directory.0)).unwrap();
    }
}

#[test]
fn a_damaged_file_of_dead_letters_is_mended_too() {
    let directory = Directory::new("salvage-refused");
    stop(&open(&directory).0);
    let mut dead = dead_letters::Writer::new(&directory.0, 1_000_000, Disk::default());
    for (sequence, value) in [(9, b"a"), (7, b"b"), (8, b"c")] {
        dead.append(&[(sequence, UnsealedFrame::of(value))]).unwrap();
    }
    let path = segment::path(&dead_letters::directory(&directory.0), 1);
    let mut bytes = fs::read(&path).unwrap();
    bytes[SEGMENT_HEADER + 30] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let text = error(&directory);
    assert!(text.contains("damaged at byte") && text.contains("refused"), "{text}");
    let salvaged = salvage(&directory.0, SEGMENT_BYTES, &|_| true).unwrap();
    assert_eq!((salvaged.records, salvaged.dead_letters), (0, 2));
    assert_eq!(fs::read(segment::path(&salvaged.kept.unwrap(), 1)).unwrap(), bytes);
    assert_eq!(dead::values(&directory), [b"b", b"c"]);
}

#[test]
fn a_file_of_another_version_is_left_to_others() {
    let directory = Directory::new("salvage-version");
    let (wanted, _) = damaged_log(&directory);
    assert!(!wanted.is_empty());
    fs::write(segment::path(&directory.0, 100), b"WGSPOOL\x01 and so on").unwrap();
    let before = contents(&directory.0);
    let error = salvage(&directory.0, SEGMENT_BYTES, &|_| true).unwrap_err().to_string();
    assert!(error.contains("version 1 of the format"), "{error}");
    assert_eq!(contents(&directory.0), before);
}

#[test]
fn a_disk_without_room_for_it_stays_as_it_is() {
    let directory = Directory::new("salvage-full");
    let (wanted, _) = damaged_log(&directory);
    let before = contents(&directory.0);
    let disk = Disk::default();
    disk.faults.room.store(5_000, Ordering::SeqCst);
    salvage_on(&disk, &directory.0, SEGMENT_BYTES, &|_| true).unwrap_err();
    assert_eq!(contents(&directory.0), before);
    salvage(&directory.0, SEGMENT_BYTES, &|_| true).unwrap();
    assert_eq!(undrained(&directory), wanted);
}

/// It is killed before each single thing that it does on the disk, and run again: all is saved, once, and nothing that was
/// there is gone. Before that it does not open with less.
#[test]
fn a_salvage_that_is_interrupted_at_any_step_goes_on() {
    let (directory, moments) = (Directory::new("salvage-moments"), Directory::new("salvage-copies"));
    let (wanted, _) = damaged_log(&directory);
    let before: Vec<Vec<u8>> = contents(&directory.0).into_values().collect();
    let disk = Disk::default();
    let count = Arc::new(Mutex::new(0));
    let watcher = {
        let (from, to, count) = (directory.0.clone(), moments.0.clone(), Arc::clone(&count));
        move || {
            let mut count = count.lock().unwrap();
            copy(&from, &to.join(count.to_string()));
            *count += 1;
        }
    };
    *disk.faults.watcher.lock().unwrap() = Some(Box::new(watcher));
    salvage_on(&disk, &directory.0, SEGMENT_BYTES, &|_| true).unwrap();
    *disk.faults.watcher.lock().unwrap() = None;
    let count = *count.lock().unwrap();
    assert!(count > 40, "{count}");
    let mut refused_to_start = 0;
    for moment in 0..count {
        let copy = Directory(moments.0.join(moment.to_string()));
        match inspected(&copy.0) {
            Ok(_) => assert_eq!(undrained(&copy), wanted, "{moment}"),
            Err(_) => refused_to_start += 1,
        }
        let good = inspected(&copy.0).is_ok();
        let salvaged =
            salvage(&copy.0, SEGMENT_BYTES, &|_| true).unwrap_or_else(|error| panic!("{moment}: {error}"));
        assert_eq!(salvaged.records, if good { 0 } else { wanted.len() as u64 }, "{moment}");
        assert_eq!(undrained(&copy), wanted, "{moment}");
        let after: Vec<Vec<u8>> = contents(&copy.0).into_values().collect();
        assert!(before.iter().all(|bytes| after.contains(bytes)), "{moment}");
    }
    assert!(refused_to_start > 40, "{refused_to_start}");
}
