//! Which plugin a call of the host is for.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use token_broker::Error;

use crate::abi::{Action, Root, Stream};
use crate::host::log_error;
use crate::plugin::Plugin;
use crate::refusal;

/// What lives in this VM.
#[derive(Default)]
pub(crate) struct Vm {
    /// By root context: one for each configuration that is in use.
    plugins: RefCell<Vec<(Root, Rc<Plugin>)>>,
    /// Streams whose headers have not come yet, in the order of their coming, and their root contexts.
    streams: RefCell<VecDeque<(Stream, Root)>>,
}

impl Vm {
    /// A root context begins, of which nothing is known yet, or the stream of one.
    pub(crate) fn create(&self, context: u32, root: Root) {
        if self.plugin(root).is_none() {
            return;
        }
        let mut streams = self.streams.borrow_mut();
        streams.push_back((Stream(context), root));
        if streams.len() > MAX_STREAMS {
            // Its stream ended before it came here.
            streams.pop_front();
        }
    }

    /// False: the configuration is refused, and the proxy refuses it too.
    pub(crate) fn configure(&self, root: Root, size: usize) -> bool {
        self.forget_the_dead();
        let json = root.configuration(size).map_err(|status| format!("it cannot be read: {status}"));
        match json.and_then(|json| Plugin::configure(root, &json)) {
            Ok(plugin) => {
                self.forget(root);
                self.plugins.borrow_mut().push((root, plugin));
                true
            }
            Err(why) => {
                log_error("refused the configuration", &why);
                false
            }
        }
    }

    pub(crate) fn request(&self, stream: Stream) -> Action {
        match self.root_of(stream).and_then(|root| self.plugin(root)) {
            Some(plugin) => plugin.request(stream),
            None => {
                let error = "more requests are under way than the filter can keep apart";
                refusal::send(stream, &Error::Other(error.to_owned()));
                Action::Pause
            }
        }
    }

    pub(crate) fn plugin(&self, root: Root) -> Option<Rc<Plugin>> {
        let plugins = self.plugins.borrow();
        plugins.iter().find(|(of, _)| *of == root).map(|(_, plugin)| Rc::clone(plugin))
    }

    /// The root context of a stream whose headers have come. Those of most come as soon as it has begun.
    fn root_of(&self, stream: Stream) -> Option<Root> {
        let mut streams = self.streams.borrow_mut();
        let place = streams.iter().rposition(|(number, _)| *number == stream)?;
        streams.remove(place).map(|(_, root)| root)
    }

    /// Nobody says when a root context ends. In the name of one that has, nobody can act.
    fn forget_the_dead(&self) {
        let roots: Vec<Root> = self.plugins.borrow().iter().map(|(root, _)| *root).collect();
        roots.into_iter().filter(|root| !root.is_there()).for_each(|root| self.forget(root));
    }

    fn forget(&self, root: Root) {
        let Some(plugin) = self.plugin(root) else { return };
        self.plugins.borrow_mut().retain(|(of, _)| *of != root);
        plugin.end();
    }
}

/// Far more than wait in the filters before this one.
const MAX_STREAMS: usize = 100_000;
