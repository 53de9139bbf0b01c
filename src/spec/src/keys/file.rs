//! The keys of the whole file: `[appliance]`, `[policy]`, `[defaults]`, `[registries]`, `[store]`, `[volumes]`, `[[waivers]]`.

use super::{Key, Table, Widens, container, key, table};
use crate::model::{Limit, ManagerLog, Persistence, Registry, StorePolicy, Verify};
use crate::types::{
    AnyText, ApplianceName, Boolean, ContainerName, Count, CredentialName, Day, Fixed, Group, Line, List, MirrorUrl,
    Named, Path, ProxyUrl, Size, SizeOrZero, WaivableRule, Whole, Words, list, name_of, ports,
};
use crate::view::Level;

table! { TABLE "" "The whole file" {
    SCHEMA: Fixed = key("schema", Fixed(1, "1"), "version of this format").required().example("1");

    APPLIANCE_TABLE: Group = key("appliance", Group::of(&APPLIANCE), "the host as a whole").required();

    POLICY_TABLE: Group = key("policy", Group::of(&POLICY), "rules for every container");

    DEFAULTS: Group = key("defaults",
        Group { table: &container::TABLE, short: None, level: Some(Level::Defaults) },
        "values for containers that leave a key out");

    REGISTRIES: Named = key("registries",
        Named { table: &REGISTRY, name: Registry::check_name, below: None,
            examples: &["\"docker.io\"", "\"mirror.site.example\""] },
        "connection to a registry; without a table: over TLS, without a login");

    STORE_TABLE: Group = key("store", Group::of(&STORE), "how images are kept");

    VOLUMES: Named = key("volumes",
        Named { table: &VOLUME, name: |entry, out| drop(name_of(entry.name, &entry.key_span, out)), below: None,
            examples: &["db"] },
        "named volumes");

    CONTAINERS: Named = key("containers",
        Named {
            table: &container::TABLE,
            name: |entry, out| drop(name_of(entry.name, &entry.key_span, out)),
            below: Some(DEFAULTS.about.name),
            examples: &["db", "db-backup"],
        },
        "the containers, started in the order of the file and stopped in the reverse order").required();

    WAIVERS: List<Whole<()>> = key("waivers",
        list("a list of tables", "[[waivers]]", Whole::keys(&WAIVER, "[[waivers]]")).counted(),
        "rules weakened for a container, the only way to weaken one; every report lists them first")
        .absent("no rule is weakened").widens(Widens::Entry);
}}

table! { APPLIANCE "appliance" "The host as a whole" {
    NAME: ApplianceName = key("name", ApplianceName,
        "names the store of revisions and the cgroup; a-z, 0-9 and `-`")
        .required().example("\"pump-station\"");

    LOG: Words<ManagerLog> = key("log",
        Words(&[("stderr", ManagerLog::Stderr), ("journald", ManagerLog::Journald), ("syslog", ManagerLog::Syslog)]),
        "where casemate's own log goes: stderr, the journal, or /dev/log; `up` prints it too")
        .built_in(|| ManagerLog::Stderr);
}}

table! { POLICY "policy" "Rules for every container; a container can only be stricter" {
    REQUIRE_LIMITS: List<Words<Limit>> = key("require_limits",
        list("a list of limits", "[\"memory\", \"pids\"]",
            Words(&[("memory", Limit::Memory), ("pids", Limit::Pids), ("cpus", Limit::Cpus)])).between(Limit::each_once),
        "limits that each container has to state itself")
        .built_in(|| vec![Limit::Memory, Limit::Pids]).widens(Widens::FewerEntries)
        .example("[\"memory\", \"pids\", \"cpus\"]");

    PULL: Words<()> = key("pull", Words(&[("never-at-start", ())]),
        "fixed; listed for clarity: `casemate pull` fetches images, a start needs no network")
        .built_in(|| ());
}}

table! { REGISTRY "registries.\"HOST[:PORT]\"" "Connection to a registry or a mirror. auth_file and credential have the format of docker's config.json: a key with a path, HOST/a/b, is for what lies below it, and the longest one counts; credential helpers that it names are not run" {
    MIRRORS: List<MirrorUrl> = key("mirrors",
        list("a list of URLs", "mirrors = [\"https://mirror.site.example\"]", MirrorUrl)
            .between(Registry::few_mirrors).at_most(16),
        "tried before the registry, in this order; a mirror may have a table of its own")
        .built_in(Vec::new).example("[\"https://mirror.site.example/hub\"]");

    CA: Path = key("ca", Path, "file of certificate authorities besides the host's, PEM")
        .absent("the host's only").widens(Widens::AnyChange).second("\"/etc/casemate/site-ca.pem\"");

    INSECURE: Boolean = key("insecure", Boolean,
        "true: plain HTTP, with a warning; bytes are proven by digest all the same")
        .built_in(|| false).widens(Widens::True);

    AUTH_FILE: Path = key("auth_file", Path,
        "file with the login")
        .absent("no login").second("\"/etc/casemate/auth.json\"");

    CREDENTIAL: CredentialName = key("credential", CredentialName,
        "credential of the unit with the login, instead of auth_file")
        .absent("no login").example("\"registry-auth\"");

    PROXY: ProxyUrl = key("proxy", ProxyUrl, "HTTP proxy, without a password")
        .absent("no proxy").second("\"http://proxy.site.example:3128\"");

    PORTS: List<Count<u16>> = key("ports", ports("ports = [5001]").between(Registry::few_ports).at_most(64),
        "TCP ports, besides 443 and its own, of its token server and of redirects")
        .built_in(Vec::new).widens(Widens::Entry).second("[5001]");
}}

table! { STORE "store" "How images are kept. After a new file is applied, images that only dropped files name are removed, unless `image pin` keeps them. With verify = \"start\" a preloaded store has to lie on EROFS or ext4: squashfs keeps times in seconds only" {
    PRELOAD: List<Path> = key("preload",
        list("a list of paths", "[\"/a\", \"/b\"]", Path).between(StorePolicy::few_preloaded).at_most(8),
        "read-only image stores (podman: additionalimagestores), used in place without a copy")
        .built_in(Vec::new).widens(Widens::Entry).example("[\"/usr/share/casemate/store\"]");

    KEEP: Count<u16> = key("keep", Count::limit(1, 100),
        "applied files that are kept, the one in force included, with their images")
        .built_in(|| 2);

    FREE_SPACE: SizeOrZero = key("free_space", SizeOrZero,
        "space that an import or a pull leaves free; 0: it may fill the disk")
        .built_in(|| 0).widens(Widens::Smaller).example("\"512MiB\"");

    VERIFY: Words<Verify> = key("verify", Words(&[("pull", Verify::Pull), ("start", Verify::Start)]),
        "when the files of layers are verified: pull, when unpacked; start, before each start too")
        .built_in(|| Verify::Pull).widens(Widens::Words(&["start", "pull"])).example("\"start\"");

    MAX_CONCURRENT_DOWNLOADS: Count<u8> = key("max_concurrent_downloads", Count::limit(1, 16), "downloads of one pull at a time")
        .built_in(|| 3);

    MAX_DOWNLOAD_RATE: Size = key("max_download_rate", Size::LIMIT, "bytes a second of all downloads together")
        .absent("no bound").example("\"64MiB\"");
}}

table! { VOLUME "volumes.NAME" "A volume: created empty at its first use, owned by the user of the containers that mount it" {
    PERSISTENCE: Words<Persistence> = key("persistence", Words(&[("permanent", Persistence::Permanent)]),
        "permanent: kept until an administrator removes it")
        .built_in(|| Persistence::Permanent);
}}

table! { WAIVER "waivers[]" "A rule that is weakened for one container" {
    RULE: WaivableRule = key("rule", WaivableRule,
        "limits-required: the limits need not be stated; limits: start where the host cannot enforce limits")
        .required().widens(Widens::AnyChange).example("\"limits-required\"");

    CONTAINER: ContainerName = key("container", AnyText("name of a container"), "the container")
        .required().widens(Widens::AnyChange).example("\"db-backup\"");

    REASON: Line = key("reason", Line, "why, for the reports")
        .required().example("\"how much a backup needs depends on the plant; the built-in limits hold\"");

    EXPIRES: Day = key("expires", Day, "the last day; a warning 30 days before, an error after")
        .required().widens(Widens::Larger).example("2099-12-31");
}}
