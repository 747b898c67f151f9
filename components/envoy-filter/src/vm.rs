//! The plugins of a VM, and the dispatch of the proxy's calls to them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use token_broker::Error;

use crate::abi::{Action, Root, Stream};
use crate::log;
use crate::plugin::Plugin;
use crate::refusal;

/// The plugins and the new streams of this VM.
#[derive(Default)]
pub(crate) struct Vm {
    /// By root context. Each configuration that is in use has one.
    plugins: RefCell<Vec<(Root, Rc<Plugin>)>>,
    /// Streams whose headers have not come yet, in the order of their creation, and their root contexts.
    streams: RefCell<VecDeque<(Stream, Root)>>,
}

impl Vm {
    /// Takes a new context: a stream of a plugin. A new root context has no plugin yet, and is ignored.
    pub(crate) fn create(&self, context: u32, root: Root) {
        if self.plugin(root).is_none() {
            return;
        }
        let mut streams = self.streams.borrow_mut();
        streams.push_back((Stream(context), root));
        if streams.len() > MAX_STREAMS {
            // That stream has ended without headers.
            streams.pop_front();
        }
    }

    /// Makes the plugin of a root context. False if its configuration is refused, and the proxy then refuses it too.
    pub(crate) fn configure(&self, root: Root, size: usize) -> bool {
        self.drop_ended();
        let json = root.configuration(size).map_err(|status| {
            format!("it cannot be read: {status}; fix: report this, with the version of the proxy")
        });
        match json.and_then(|json| Plugin::configure(root, &json)) {
            Ok(plugin) => {
                self.drop_plugin(root);
                self.plugins.borrow_mut().push((root, plugin));
                true
            }
            Err(why) => {
                log::write_error("refused the configuration", &why);
                false
            }
        }
    }

    pub(crate) fn request(&self, stream: Stream) -> Action {
        match self.root_of(stream).and_then(|root| self.plugin(root)) {
            Some(plugin) => plugin.request(stream),
            None => {
                let error = "too many requests are under way; fix: report this";
                refusal::send(stream, &Error::Other(error.to_owned()));
                Action::Pause
            }
        }
    }

    pub(crate) fn plugin(&self, root: Root) -> Option<Rc<Plugin>> {
        let plugins = self.plugins.borrow();
        plugins.iter().find(|(of, _)| *of == root).map(|(_, plugin)| Rc::clone(plugin))
    }

    /// The root context of a stream whose headers have come, which is usually one of the newest.
    fn root_of(&self, stream: Stream) -> Option<Root> {
        let mut streams = self.streams.borrow_mut();
        let place = streams.iter().rposition(|(number, _)| *number == stream)?;
        streams.remove(place).map(|(_, root)| root)
    }

    /// Drops the plugins whose root context has ended, which the proxy does not tell.
    fn drop_ended(&self) {
        let roots: Vec<Root> = self.plugins.borrow().iter().map(|(root, _)| *root).collect();
        roots.into_iter().filter(|root| !root.is_there()).for_each(|root| self.drop_plugin(root));
    }

    fn drop_plugin(&self, root: Root) {
        let Some(plugin) = self.plugin(root) else { return };
        self.plugins.borrow_mut().retain(|(of, _)| *of != root);
        plugin.end();
    }
}

/// Far more than can be in the filters before this one.
const MAX_STREAMS: usize = 100_000;
