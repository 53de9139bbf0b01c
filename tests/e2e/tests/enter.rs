//! Processes that enter a running container: the probe's report from inside, against the report of the container's own process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

use casemate_client::{Client, Error};
use casemate_e2e::versions::connect_as_manager;
use casemate_e2e::{Container, Instance, Report, Spec, both_modes, host, poll};
use casemate_wire::{Enter, EnteredDescriptors, Event, FailureKind, Name, ProcessExit, Reply, Request};

fn connect(casemate: &Instance) -> Client {
    Client::connect(connect_as_manager(casemate), false).unwrap()
}

fn request(command: &[&str]) -> Request {
    Request::Enter(Enter {
        container: Name::new("a").unwrap(),
        argv: command.iter().map(|word| word.as_bytes().to_vec()).collect(),
        env: vec![b"PATH=/".to_vec()],
        cwd: "/".to_owned(),
    })
}

/// Runs a command of the probe in container `a`: its standard output, its standard error, its end.
fn enter(client: &mut Client, command: &[&str]) -> Result<(String, String, ProcessExit), Error> {
    let (reply, descriptors) = client.call(&request(command), &[])?;
    let Reply::Entered(entered) = reply else { panic!("{reply:?}") };
    let EnteredDescriptors { stdout, stderr, .. } = descriptors.try_into().unwrap();
    let stdout = host::read_to_end(stdout);
    let stderr = host::read_to_end(stderr);
    let exit = match client.wait_event().unwrap() {
        Event::ProcessExited(exited) if exited.process == entered.process => exited.exit,
        other => panic!("{other:?}"),
    };
    Ok((stdout.join().unwrap(), stderr.join().unwrap(), exit))
}

/// A container of the probe that has printed its report and sleeps.
fn sleeper(casemate: &Instance, change: impl FnOnce(Container) -> Container) -> (casemate_e2e::Up, Report) {
    let container = change(Container::new("a", &casemate.probe(), 10_001).command(&["report", "sleep"]));
    let up = casemate.up(&Spec::new([container]));
    let text = poll::until("the report", || {
        let output = casemate.run(&["logs", "a"]);
        output.stdout.trim_end().strip_suffix("sleeping").map(str::to_owned)
    });
    (up, serde_json::from_str(&text).unwrap())
}

both_modes! {
    fn entered_process_is_confined_as_the_payload(mode) {
        let casemate = Instance::new(mode);
        let (_up, own) = sleeper(&casemate, |container| {
            container
                .set("security", "{ seccomp = \"casemate:minimal\" }")
                // Fewer descriptors than the helper has open: no step may need one after the limit is set.
                .set("ulimits", "{ nofile = 10, nproc = 100 }")
        });
        let mut client = connect(&casemate);
        let (stdout, stderr, exit) = enter(&mut client, &["/casemate-probe", "report"]).unwrap();
        assert_eq!((exit.code, exit.signal), (0, None), "{stderr}");
        let entered: Report = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}\n{stderr}"));
        // Ids, maps, capability sets, securebits, no_new_privs, seccomp filters, umask, namespaces, cgroup.
        assert_eq!(entered.identity, own.identity);
        assert_eq!(entered.calls, own.calls);
        assert_eq!(entered.sockets, own.sockets);
        assert_eq!(entered.mounts, own.mounts);
        assert_eq!(entered.limits, own.limits);
        let mine = &entered.writable;
        let payloads = &own.writable;
        assert_eq!((&mine.directories, &mine.files, &mine.dev), (&payloads.directories, &payloads.files, &payloads.dev));
        assert_eq!((&mine.proc, &mine.proc_self, &mine.sys), (&payloads.proc, &payloads.proc_self, &payloads.sys));
        // Another process's program is not even found to be busy: its Landlock domain is another one.
        assert!(["EACCES", "ETXTBSY"].contains(&mine.own_program.as_str()), "{}", mine.own_program);
        assert_eq!(entered.surroundings.attempts, own.surroundings.attempts);
        assert_eq!(entered.surroundings.landlock, own.surroundings.landlock);
        assert_eq!((entered.surroundings.pid > 1, entered.surroundings.parent), (true, 0));
        assert_eq!(entered.descriptors.len(), 3, "{:?}", entered.descriptors);
        casemate.run(&["down"]).expect(0);
    }

    fn entered_process_reports_its_exit_and_its_failed_step(mode) {
        let casemate = Instance::new(mode);
        let (_up, _) = sleeper(&casemate, |container| container);
        let mut client = connect(&casemate);
        let (_, _, exit) = enter(&mut client, &["/casemate-probe", "misbehave", "exit", "7"]).unwrap();
        assert_eq!((exit.code, exit.signal), (7, None));
        let failed = |client: &mut Client, request: &Request| match client.call(request, &[]) {
            Err(Error::Failed(failure)) => failure,
            other => panic!("{other:?}"),
        };
        let missing = failed(&mut client, &request(&["no-such-program"]));
        assert_eq!((missing.step.as_str(), missing.errno), ("exec", Some(2)), "{missing:?}");
        let empty = failed(&mut client, &request(&[]));
        assert_eq!((empty.step.as_str(), empty.kind), ("check", FailureKind::Refused), "{empty:?}");
        let elsewhere = Request::Enter(Enter {
            container: Name::new("a").unwrap(),
            argv: vec![b"/casemate-probe".to_vec()],
            env: Vec::new(),
            cwd: "/no/such/directory".to_owned(),
        });
        let elsewhere = failed(&mut client, &elsewhere);
        assert_eq!((elsewhere.step.as_str(), elsewhere.errno), ("cwd", Some(2)), "{elsewhere:?}");
        let unknown = Request::Enter(Enter {
            container: Name::new("b").unwrap(),
            argv: vec![b"/casemate-probe".to_vec()],
            env: Vec::new(),
            cwd: "/".to_owned(),
        });
        assert_eq!(failed(&mut client, &unknown).step, "enter");
        casemate.run(&["down"]).expect(0);
    }

    fn entered_process_ends_with_its_client_and_with_its_container(mode) {
        let casemate = Instance::new(mode);
        let (_up, _) = sleeper(&casemate, |container| container);
        let sleeping = || {
            let all = casemate.processes().into_iter();
            all.filter(|process| process.arguments.iter().any(|word| word == "misbehave")).count()
        };
        let mut first = connect(&casemate);
        let mut second = connect(&casemate);
        for client in [&mut first, &mut second] {
            let (reply, _) = client.call(&request(&["/casemate-probe", "misbehave", "sleep"]), &[]).unwrap();
            assert!(matches!(reply, Reply::Entered(_)), "{reply:?}");
        }
        assert_eq!(sleeping(), 2);
        drop(first);
        poll::until("the end of the first", || (sleeping() == 1).then_some(()));
        // SIGKILL to pid 1 ends every process of the container; its exit is complete when all are reaped.
        casemate.run(&["down"]).expect(0);
        assert_eq!(sleeping(), 0);
        assert!(matches!(second.wait_event(), Ok(Event::ProcessExited(_)) | Err(Error::Closed)));
    }
}
