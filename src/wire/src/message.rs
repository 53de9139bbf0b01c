//! The tables of messages: the name of each in its envelope, and the type of its body. `()` is an empty body.

use crate::frozen::{Containers, Hello, ListContainers, Signal, Welcome};
use crate::{
    Digest, DiskUsage, Enter, Entered, Envelope, Error, Exited, Facts, Failure, FailureKind, LayerReport, Layers,
    ListLayers, Name, PROTOCOL, ProcessExited, Start, Unpack,
};

/// An enum with one variant for each message, which knows the message's name.
macro_rules! messages {
    ($(#[$doc:meta])* $table:ident { $($(#[$variant_doc:meta])* $name:literal => $variant:ident($body:ty),)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $table { $($(#[$variant_doc])* $variant($body),)* }

        impl $table {
            /// The message's name.
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)* }
            }

            /// Reads the body of the message of this name; `None` if this version does not know the name.
            pub fn decode(name: &str, body: &[u8]) -> Option<Result<Self, Error>> {
                match name {
                    $($name => Some(crate::decode(body).map(Self::$variant)),)*
                    _ => None,
                }
            }

            /// The packet of this message and of the descriptors with these names. `number`: see [`Envelope::number`].
            pub fn packet(&self, number: u32, descriptors: &[&str]) -> Result<Vec<u8>, Error> {
                let body = match self { $(Self::$variant(body) => crate::encode(body)?,)* };
                Envelope { number, name: self.name(), descriptors: descriptors.to_vec(), body: &body }.encode()
            }
        }
    };
}

messages! {
    /// Client to helper: the closed table of what the helper does. Several clients of the manager's user may be connected.
    Request {
        /// Frozen: see [`Hello`].
        "hello" => Hello(Hello),
        /// Frozen: see [`ListContainers`].
        "containers" => Containers(ListContainers),
        /// Frozen. Answer: [`Reply::Attached`] with the descriptors of a container, running or exited.
        "attach" => Attach(Name),
        /// Frozen: see [`Signal`].
        "signal" => Signal(Signal),
        /// Frozen. SIGKILL to every process of the container. Answer: [`Reply::Done`].
        "kill" => Kill(Name),
        /// Frozen. Frees an exited container: pipes, cgroup, name. Answer: [`Reply::Done`].
        "forget" => Forget(Name),
        /// Answer: [`Reply::Facts`].
        "facts" => Facts(()),
        /// Answer: [`Reply::Layers`].
        "layers" => Layers(ListLayers),
        /// Descriptor: `blob`. Answer, when it is done: [`Reply::Unpacked`]. Kinds of failure besides the usual:
        /// `blob-differs` and `bytes-limit`.
        "unpack" => Unpack(Unpack),
        /// Descriptor: `inventory`. A confined process writes there a line for each entry of this layer as it lies on the
        /// disk, without its parents: path, type, mode, owner, size, time, sha256 of the content, extended attributes, in an
        /// order that depends on names alone. Equal inventories are equal layers. Answer, when it is done:
        /// [`Reply::DiskUsage`].
        "inventory" => Inventory(Digest),
        /// Adds up what a volume takes on the disk. Answer, when it is done: [`Reply::DiskUsage`].
        "disk-usage" => DiskUsage(Name),
        /// Refused while a container or an unpack uses the layer. It is invisible at once; the answer, [`Reply::Done`], comes
        /// when its files are gone.
        "remove-layer" => RemoveLayer(Digest),
        /// Answer, after the payload's execve: [`Reply::Started`] with the descriptors of a container.
        "start" => Start(Start),
        /// See [`Enter`].
        "enter" => Enter(Enter),
        /// Ends the helper. Refused while a container runs. Answer: [`Reply::Done`].
        "quit" => Quit(()),
    }
}

messages! {
    /// Helper to client: the answer to one request.
    Reply {
        /// Frozen. To `hello`.
        "welcome" => Welcome(Welcome),
        /// Frozen. To `containers`.
        "containers" => Containers(Containers),
        /// Frozen. To `attach`. Descriptors: those of [`crate::ContainerDescriptors`].
        "attached" => Attached(()),
        /// Frozen. It was done.
        "done" => Done(()),
        /// Frozen. It was not done, and nothing of it is left.
        "failed" => Failed(Failure),
        /// To `facts`.
        "facts" => Facts(Facts),
        /// To `layers`.
        "layers" => Layers(Layers),
        /// To `unpack`: the layer is there.
        "unpacked" => Unpacked(LayerReport),
        /// To `inventory` and `disk-usage`.
        "disk-usage" => DiskUsage(DiskUsage),
        /// To `start`: the payload was executed. Descriptors as with `attached`.
        "started" => Started(()),
        /// To `enter`: the program was executed. Descriptors: those of [`crate::EnteredDescriptors`].
        "entered" => Entered(Entered),
    }
}

messages! {
    /// Helper to a client, without a request.
    Event {
        /// Frozen. To the client that supervises.
        "exited" => Exited(Exited),
        /// See [`ProcessExited`].
        "process-exited" => ProcessExited(ProcessExited),
    }
}

impl Request {
    /// Reads a request, or says in the answer to it why it cannot be read.
    pub fn read(envelope: &Envelope<'_>) -> Result<Self, Failure> {
        let name = envelope.name;
        let failure = |object: String, kind| Failure { step: name.to_owned(), object, errno: None, kind };
        match Self::decode(name, envelope.body) {
            Some(request) => request.map_err(|error| failure(error.to_string(), FailureKind::Refused)),
            None => {
                let object = format!("this helper (protocol {PROTOCOL}) does not know the request `{name}`");
                Err(failure(object, FailureKind::UnknownRequest))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_that_cannot_be_read_is_refused_by_name() {
        let envelope = |name, body| Envelope { number: 1, name, descriptors: Vec::new(), body };
        assert_eq!(Request::read(&envelope("quit", &[])), Ok(Request::Quit(())));
        let unknown = Request::read(&envelope("freeze", &[1, 2])).unwrap_err();
        assert_eq!((unknown.step.as_str(), unknown.kind), ("freeze", FailureKind::UnknownRequest));
        for (name, body) in [("quit", &[0][..]), ("hello", &[1]), ("attach", b"\x02A!"), ("signal", b"\x01a")] {
            let malformed = Request::read(&envelope(name, body)).unwrap_err();
            assert_eq!((malformed.step.as_str(), malformed.kind), (name, FailureKind::Refused));
        }
    }
}
