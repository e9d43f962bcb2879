//! What a mount has after deploys over each other, by every way in, and after going back.

use std::os::unix::fs::{MetadataExt, symlink};

use super::*;
use crate::{
    error::Error,
    files::{
        deploy::{History, accept, is_on_trial, take_back},
        remove::remove_tree,
    },
};

const LIVE: Moment = Moment::Live;
const DOWN: Moment = Moment::Down { trial: false };
const TRIAL: Moment = Moment::Down { trial: true };

/// A mount in which an app, deployed as number 1, has made itself at home.
fn lived_in() -> World {
    let world = World::new();
    world.deploy(&[("boot.py", "1"), ("lib/a", "1"), ("lib/b", "1"), ("static/", "")], "", Mode::Merge, LIVE).unwrap();
    fs::create_dir_all(world.app("data/deep")).unwrap();
    fs::write(world.app("data/deep/db"), "rows").unwrap();
    fs::write(world.app("lib/cache"), "warm").unwrap();
    symlink(world.outside(), world.app("out")).unwrap();
    world
}

#[test]
fn a_replacement_leaves_exactly_what_the_archive_has_whether_or_not_the_container_is_up() {
    for moment in [LIVE, DOWN, TRIAL] {
        let world = lived_in();
        // Each kind of thing takes the place of each other kind.
        fs::remove_file(world.app("boot.py")).unwrap();
        fs::create_dir_all(world.app("boot.py/now/a/folder")).unwrap();
        symlink("lib", world.app("conf")).unwrap();
        let entries = [("boot.py", "2"), ("conf/x", "2"), ("data", "→ conf"), ("lib/a/now/deep", "2"), ("out", "inside")];
        world.deploy(&entries, "", Mode::Replace, moment).unwrap();
        accept(&world.folder()).unwrap();
        world.assert_tree(&[
            ("boot.py", "2"),
            ("conf", "/"),
            ("conf/x", "2"),
            ("data", "→ conf"),
            ("lib", "/"),
            ("lib/a", "/"),
            ("lib/a/now", "/"),
            ("lib/a/now/deep", "2"),
            ("out", "inside"),
        ]);
        let top = fs::metadata(world.app("")).unwrap();
        assert_eq!((top.mode() & 0o7777, top.uid()), (0o755, owner().uid));
    }
}

#[test]
fn a_replacement_of_a_folder_leaves_the_others_alone() {
    for (moment, to) in [(LIVE, "lib"), (DOWN, "lib"), (LIVE, "new/lib"), (DOWN, "new/lib")] {
        let world = lived_in();
        world.deploy(&[("x/y", "2")], to, Mode::Replace, moment).unwrap();
        let tree = world.tree();
        assert_eq!(tree[&format!("{to}/x/y")], "2");
        assert_eq!(tree.contains_key("lib/cache"), to != "lib");
        assert_eq!((&*tree["data/deep/db"], &*tree["boot.py"]), ("rows", "1"));
        world.assert_clean();
    }
    let world = lived_in();
    for (to, moment) in [("boot.py", LIVE), ("boot.py", DOWN), ("out", LIVE), ("out", DOWN)] {
        let refused = world.deploy(&[("x", "2")], to, Mode::Replace, moment).map(drop);
        assert!(matches!(&refused, Err(Error::Invalid(invalid)) if invalid.code == "INVALID_PATH"), "{to}: {refused:?}");
        world.assert_clean();
    }
}

#[test]
fn a_folder_that_a_volume_is_mounted_on_stays_under_a_running_container() {
    let world = lived_in();
    let volumes = vec![rel("data/deep"), rel("static")];
    let deploy = |entries: &[(&str, &str)]| {
        let upload = Upload::of(&archive(entries), &place(&world.folder()));
        let terms = Terms { volumes: volumes.clone(), ..terms() };
        stage(&world.folder(), upload, rel(""), Mode::Replace, terms)?.move_in(LIVE)
    };
    let inode = || fs::metadata(world.app("data/deep")).unwrap().ino();
    let before = inode();
    deploy(&[("boot.py", "2")]).unwrap();
    assert_eq!(inode(), before);
    world.assert_tree(&[("boot.py", "2"), ("data", "/"), ("data/deep", "/"), ("data/deep/db", "rows"), ("static", "/")]);
    for name in ["data", "data/deep", "static"] {
        let refused = deploy(&[(name, "a file")]).map(drop);
        assert!(matches!(&refused, Err(Error::Invalid(invalid)) if invalid.message.contains(name)), "{refused:?}");
    }
    assert_eq!(inode(), before);
}

#[test]
fn a_deploy_on_trial_is_taken_back_to_the_very_files_that_were_there() {
    for (mode, to) in
        [(Mode::Merge, ""), (Mode::Merge, "lib"), (Mode::Replace, ""), (Mode::Replace, "lib"), (Mode::Replace, "no")]
    {
        let world = lived_in();
        let (before, inode) = (world.tree(), fs::metadata(world.app("boot.py")).unwrap().ino());
        let deploy = world.deploy(&[("boot.py", "2"), ("a", "2"), ("new/deep/x", "2"), ("static/y", "2")], to, mode, TRIAL);
        assert_eq!(deploy.unwrap().number, 2);
        assert!(world.tree() != before && is_on_trial(&world.folder()).unwrap());
        assert!(world.stage(&archive(&[]), "", Mode::Merge).is_err(), "one trial at a time");
        take_back(&world.folder()).unwrap();
        take_back(&world.folder()).unwrap();
        assert_eq!(world.tree(), before, "{mode:?} to {to:?}");
        assert_eq!(fs::metadata(world.app("boot.py")).unwrap().ino(), inode);
        world.assert_clean();
        let history = History::load(&world.folder()).unwrap();
        assert_eq!((history.current, history.deploys.len()), (Some(1), 1));
        assert_eq!(world.deploy(&[("z", "")], "", Mode::Merge, LIVE).unwrap().number, 3, "a number is given once");
    }
}

#[test]
fn going_back_puts_the_deploys_files_back_and_leaves_what_the_app_made() {
    for moment in [LIVE, DOWN, TRIAL] {
        let world = lived_in();
        let first = world.tree();
        world.deploy(&[("boot.py", "2"), ("plugins/bad/x", "2"), ("plugins/own/", "")], "", Mode::Merge, LIVE).unwrap();
        world.deploy(&[("c", "3")], "lib", Mode::Replace, LIVE).unwrap();
        fs::write(world.app("plugins/own/data"), "precious").unwrap();
        fs::write(world.app("lib/new"), "precious").unwrap();
        fs::write(world.app("boot.py"), "changed by the app").unwrap();

        assert_eq!(world.go_back(1, moment).unwrap().number, 1);
        accept(&world.folder()).unwrap();
        let mut expected = first.clone();
        // The app's own went with the folder that was replaced.
        expected.remove("lib/cache");
        for (path, what) in [("plugins", "/"), ("plugins/own", "/"), ("plugins/own/data", "precious"), ("lib/new", "precious")] {
            expected.insert(path.into(), what.into());
        }
        assert_eq!(world.tree(), expected);

        world.go_back(3, moment).unwrap();
        accept(&world.folder()).unwrap();
        let tree = world.tree();
        assert_eq!((&*tree["boot.py"], &*tree["plugins/bad/x"], &*tree["lib/c"]), ("2", "2", "3"));
        assert!(!tree.contains_key("lib/a") && tree["lib/new"] == "precious" && tree["data/deep/db"] == "rows");
        world.assert_clean();
    }
}

#[test]
fn going_back_can_be_taken_back_too() {
    let world = lived_in();
    world.deploy(&[("boot.py", "2"), ("plugins/bad/x", "2"), ("lib", "a file now")], "", Mode::Replace, DOWN).unwrap();
    let before = world.tree();
    world.go_back(1, TRIAL).unwrap();
    assert_eq!(world.tree()["lib/a"], "1");
    take_back(&world.folder()).unwrap();
    assert_eq!(world.tree(), before);
    assert_eq!(History::load(&world.folder()).unwrap().current, Some(2));
}

#[test]
fn as_many_deploys_are_kept_as_asked_for_and_their_archives_with_all_that_they_need() {
    let world = World::new();
    let archives = || names(&place(&world.folder())).into_iter().filter(|name| name.ends_with(".zip")).collect::<Vec<_>>();
    world.deploy(&[("a", "1"), ("only-here", "1")], "", Mode::Merge, LIVE).unwrap();
    for number in 2..=6 {
        world.deploy(&[("a", &number.to_string())], "", Mode::Merge, LIVE).unwrap();
    }
    let history = History::load(&world.folder()).unwrap();
    assert_eq!(history.deploys.iter().map(|deploy| deploy.number).collect::<Vec<_>>(), [4, 5, 6]);
    assert_eq!(archives(), ["1.zip", "4.zip", "5.zip", "6.zip"], "the first one has what no other has");
    world.go_back(4, LIVE).unwrap();
    world.assert_tree(&[("a", "4"), ("only-here", "1")]);
    assert!(matches!(world.go_back(3, LIVE), Err(Error::DeployNotFound(3))));
    world.deploy(&[("a", "7")], "", Mode::Replace, LIVE).unwrap();
    world.deploy(&[("a", "8")], "", Mode::Merge, LIVE).unwrap();
    world.deploy(&[("a", "9")], "", Mode::Merge, LIVE).unwrap();
    assert_eq!(archives(), ["7.zip", "8.zip", "9.zip"]);
    let none = Terms { keep: 0, ..terms() };
    let upload = Upload::of(&archive(&[("a", "10")]), &place(&world.folder()));
    stage(&world.folder(), upload, rel(""), Mode::Replace, none).unwrap().move_in(LIVE).unwrap();
    assert!(archives().is_empty());
    assert!(matches!(world.go_back(10, LIVE), Err(Error::DeployNotFound(10))));
    world.assert_tree(&[("a", "10")]);
}

#[test]
fn taking_back_brings_back_what_was_taken_whatever_has_its_place_by_now() {
    let world = World::new();
    world.deploy(&[("config/a", "1"), ("db", "1"), ("conf", "1"), ("other/a", "1")], "", Mode::Merge, LIVE).unwrap();
    world.deploy(&[("config/a", "2"), ("db", "2"), ("conf", "2")], "", Mode::Merge, TRIAL).unwrap();
    for path in ["config", "db", "conf"] {
        let _ = remove_tree(&world.app(path)).or_else(|_| fs::remove_file(world.app(path)));
    }
    symlink("other", world.app("config")).unwrap();
    fs::create_dir_all(world.app("db/full/of/things")).unwrap();
    symlink(world.outside(), world.app("conf")).unwrap();
    take_back(&world.folder()).unwrap();
    world.assert_tree(&[("config", "/"), ("config/a", "1"), ("db", "1"), ("conf", "1"), ("other", "/"), ("other/a", "1")]);
}

#[test]
fn going_back_never_costs_the_app_what_it_made_where_a_file_or_a_folder_was() {
    for moment in [LIVE, DOWN, TRIAL] {
        let world = World::new();
        world.deploy(&[("data", "1"), ("d/x", "1")], "", Mode::Merge, LIVE).unwrap();
        world.deploy(&[("data/x", "2"), ("d", "2")], "", Mode::Replace, DOWN).unwrap();
        let before = world.tree();
        world.go_back(1, moment).unwrap();
        world.assert_files(&[("data", "1"), ("d/x", "1")]);
        if moment == TRIAL {
            take_back(&world.folder()).unwrap();
            assert_eq!(world.tree(), before);
        } else {
            world.go_back(2, moment).unwrap();
        }
        world.assert_files(&[("data/x", "2"), ("d", "2")]);
        fs::write(world.app("data/own"), "precious").unwrap();
        let before = world.tree();
        assert!(matches!(world.go_back(1, moment), Err(Error::Invalid(_))), "{moment:?}");
        assert_eq!(world.tree(), before);
        world.assert_clean();
        fs::remove_file(world.app("data/own")).unwrap();
        fs::remove_file(world.app("d")).unwrap();
        fs::create_dir(world.app("d")).unwrap();
        fs::write(world.app("d/own"), "precious").unwrap();
        let before = world.tree();
        world.go_back(1, moment).unwrap();
        world.assert_files(&[("data", "1"), ("d/own", "precious"), ("d/x", "1")]);
        if moment == TRIAL {
            take_back(&world.folder()).unwrap();
            assert_eq!(world.tree(), before);
        }
    }
}

#[test]
fn what_a_replacement_took_away_stays_away_when_its_archive_is_all_hidden() {
    let world = World::new();
    world.deploy(&[("sub/a", "1"), ("k", "1")], "", Mode::Merge, LIVE).unwrap();
    world.deploy(&[("b", "2")], "sub", Mode::Replace, LIVE).unwrap();
    world.deploy(&[("sub/b", "3")], "", Mode::Merge, LIVE).unwrap();
    world.go_back(3, LIVE).unwrap();
    world.assert_files(&[("k", "1"), ("sub/b", "3")]);
}

#[test]
fn a_deploy_over_what_was_not_kept_can_t_be_gone_back_to() {
    let world = World::new();
    let upload = Upload::of(&archive(&[("a", "1")]), &place(&world.folder()));
    stage(&world.folder(), upload, rel(""), Mode::Merge, Terms { keep: 0, ..terms() }).unwrap().move_in(LIVE).unwrap();
    assert!(!world.deploy(&[("b", "2")], "", Mode::Merge, LIVE).unwrap().is_kept());
    assert!(world.deploy(&[("c", "3")], "", Mode::Replace, LIVE).unwrap().is_kept());
    assert!(world.deploy(&[("d", "4")], "", Mode::Merge, LIVE).unwrap().is_kept());
    world.go_back(4, LIVE).unwrap();
    fs::remove_file(place(&world.folder()).join("3.zip")).unwrap();
    assert!(!world.deploy(&[("e", "5")], "", Mode::Merge, LIVE).unwrap().is_kept(), "somebody made room by hand");
}

#[test]
fn what_a_volume_would_hide_is_refused() {
    let world = World::new();
    for (name, to) in [("data/db/file", ""), ("file", "data/db"), ("file", "data/db/deep")] {
        let upload = Upload::of(&archive(&[(name, "x")]), &place(&world.folder()));
        let terms = Terms { volumes: vec![rel("data/db")], ..terms() };
        let refused = stage(&world.folder(), upload, rel(to), Mode::Merge, terms).unwrap().move_in(LIVE).map(drop);
        assert!(matches!(refused, Err(Error::Invalid(_))), "{name} to {to:?}: {refused:?}");
        world.assert_clean();
    }
}

#[test]
fn many_merged_archives_become_one_and_nothing_is_lost_of_them() {
    let world = World::new();
    world
        .deploy(&[("first/run.sh", "go"), ("first/link", "→ run.sh"), ("first/empty/", ""), ("old/x", "")], "", Mode::Merge, LIVE)
        .unwrap();
    world.deploy(&[("y", "")], "old", Mode::Replace, LIVE).unwrap();
    for number in 3..=40 {
        world.deploy(&[(&number.to_string(), "x"), ("changes", &number.to_string())], "many", Mode::Merge, LIVE).unwrap();
    }
    let before = world.tree();
    let archives = names(&place(&world.folder())).len();
    assert!(archives < 25, "{archives}");
    let modified = |path: &str| fs::symlink_metadata(world.app(path)).unwrap().mtime();
    let time = modified("many/3");
    for name in ["first", "many", "old"] {
        remove_tree(&world.app(name)).unwrap();
    }
    world.go_back(40, LIVE).unwrap();
    assert_eq!((world.tree(), modified("many/3")), (before, time));
    world.go_back(39, LIVE).unwrap();
    assert!(!world.app("many/40").exists() && world.tree()["many/changes"] == "39" && world.app("many/3").exists());
    world.assert_clean();
}
