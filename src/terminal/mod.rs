//! Terminal sessions: programs in containers, looked at through frames. It knows no WebSocket.
