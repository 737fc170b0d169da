//! What other projects call the variables of the head. Ours are named as in mmdet.
