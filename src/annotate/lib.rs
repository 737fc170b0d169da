//! Annotation in the browser, with a model that answers clicks.
