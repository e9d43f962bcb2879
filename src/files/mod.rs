//! The disk below one container's mount. It knows neither Docker nor HTTP.
