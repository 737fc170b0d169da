//! Image classification on any backbone: the tokens of the coarsest level are averaged, a linear
//! head scores the categories, a focal loss trains them.
