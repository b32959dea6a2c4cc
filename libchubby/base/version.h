/* The one version of everything in this tree; meson.build's is compared with it. */
#ifndef CHUBBY_BASE_VERSION_H
#define CHUBBY_BASE_VERSION_H

#define PROJECT_VERSION "0.1.0"

#endif
