//! Which plugin a call of the host is for.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use token_broker::Error;

use crate::abi::{self, Action, Buffer};
use crate::plugin::{Plugin, log_refusal};
use crate::refusal;

/// What lives in this VM.
#[derive(Default)]
pub(crate) struct Vm {
    /// By root context.
    plugins: RefCell<BTreeMap<u32, Rc<Plugin>>>,
    /// Streams whose headers have not come yet.
    streams: RefCell<BTreeMap<u32, Rc<Plugin>>>,
}

impl Vm {
    /// A root context begins, of which nothing is known yet, or the stream of one.
    pub(crate) fn create(&self, context: u32, root: u32) {
        let Some(plugin) = self.plugin(root) else { return };
        let mut streams = self.streams.borrow_mut();
        streams.insert(context, plugin);
        if streams.len() > MAX_STREAMS {
            // The oldest ended before they came here: numbers count up.
            streams.pop_first();
        }
    }

    /// False: the configuration is refused, and the proxy refuses it too.
    pub(crate) fn configure(&self, root: u32, size: usize) -> bool {
        // An unreadable configuration is an empty one.
        let json = abi::buffer(Buffer::PluginConfiguration, size).unwrap_or_default();
        self.forget_the_dead();
        let _ = abi::act_as(root);
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
        let plugin = self.streams.borrow_mut().remove(&stream);
        match plugin {
            Some(plugin) => plugin.request(stream),
            None => {
                let error =
                    Error::Other("more requests are under way than the filter can keep apart".to_owned());
                refusal::send(&error, &error.to_string());
                Action::Pause
            }
        }
    }

    pub(crate) fn plugin(&self, root: u32) -> Option<Rc<Plugin>> {
        self.plugins.borrow().get(&root).cloned()
    }

    /// Nobody says when a root context ends. In the name of one that has, nobody can act.
    fn forget_the_dead(&self) {
        let roots: Vec<u32> = self.plugins.borrow().keys().copied().collect();
        for root in roots.into_iter().filter(|root| abi::act_as(*root).is_err()) {
            let dead = self.plugins.borrow_mut().remove(&root);
            dead.into_iter().for_each(|plugin| plugin.end());
        }
    }
}

/// Far more than wait in the filters before this one.
const MAX_STREAMS: usize = 100_000;
