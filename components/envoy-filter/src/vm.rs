//! Which plugin a call of the host is for.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::abi::{self, Action, Buffer};
use crate::plugin::{Plugin, log_refusal};

/// What lives in this VM.
#[derive(Default)]
pub(crate) struct Vm {
    /// By root context.
    plugins: RefCell<BTreeMap<u32, Rc<Plugin>>>,
    /// Requests, by the context of their stream.
    streams: RefCell<BTreeMap<u32, Rc<Plugin>>>,
}

impl Vm {
    /// A root context begins, of which nothing is known yet, or the stream of one.
    pub(crate) fn create(&self, context: u32, root: u32) {
        if let Some(plugin) = self.plugin(root) {
            self.streams.borrow_mut().insert(context, plugin);
        }
    }

    /// False: the configuration is refused, and the proxy refuses it too.
    pub(crate) fn configure(&self, root: u32, size: usize) -> bool {
        // An unreadable configuration is an empty one.
        let json = abi::buffer(Buffer::PluginConfiguration, size).unwrap_or_default();
        match Plugin::configure(root, &json) {
            Ok(plugin) => {
                let former = self.plugins.borrow_mut().insert(root, plugin);
                former.into_iter().for_each(|plugin| plugin.end());
                true
            }
            Err(why) => {
                log_refusal(&why);
                false
            }
        }
    }

    pub(crate) fn request(&self, stream: u32) -> Action {
        let plugin = self.streams.borrow().get(&stream).cloned();
        plugin.map_or(Action::Continue, |plugin| plugin.request(stream))
    }

    /// A context is no more.
    pub(crate) fn delete(&self, context: u32) {
        let stream = self.streams.borrow_mut().remove(&context);
        if let Some(plugin) = stream {
            plugin.forget(context);
            return;
        }
        let root = self.plugins.borrow_mut().remove(&context);
        root.into_iter().for_each(|plugin| plugin.end());
    }

    pub(crate) fn plugin(&self, root: u32) -> Option<Rc<Plugin>> {
        self.plugins.borrow().get(&root).cloned()
    }
}
