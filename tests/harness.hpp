// harness.hpp -- real servers and real sockets for the tests.
//
// A test starts a stage's executable on a free port, talks to it over loopback and looks at it from
// outside, through /proc. Everything that it starts ends with it, also if it fails. All waiting is
// for events, with one generous deadline. If the deadline passes a helper throws, and the test
// fails.
//
// Not thread-safe: only for the thread that runs the tests. Start everything from that thread,
// because the children die with the thread that started them.
#pragma once

#include "common/base/descriptor.hpp"

#include <sys/resource.h>
#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace ground::test {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool sanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif
#else
inline constexpr bool sanitized = false;
#endif

// ThreadSanitizer runs a signal's handler only after the interrupted system call has returned.
// accept() is restarted, so that may take until the next client comes.
#if defined(__SANITIZE_THREAD__)
inline constexpr bool handlers_are_held_back = true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
inline constexpr bool handlers_are_held_back = true;
#else
inline constexpr bool handlers_are_held_back = false;
#endif
#else
inline constexpr bool handlers_are_held_back = false;
#endif

// How much longer things may take than in a plain build. This is the only place that knows.
inline constexpr int slowdown = sanitized ? 4 : 1;

// How long to wait for what must happen. Only a failing test waits that long. The judge waits for
// programs that do fail: it says in JUDGE_PATIENCE for how many seconds.
[[nodiscard]] std::chrono::seconds patience_of_this_run();
inline const std::chrono::seconds patience = patience_of_this_run();

// A point in time, for poll().
//
// The judge waits less patiently than the suites, and must not call a server broken that merely got
// no CPU. So for a server that is not ours, the second half of a deadline counts only the time in
// which no thread of the server or the test waited for a CPU. It may take a minute. If that is not
// enough, too_busy() is true from then on: nothing is known of this server.
class Deadline {
  public:
    explicit Deadline(std::chrono::milliseconds from_now = patience);

    // The time that is left, or until it has to be asked again, at least 0. If it is 0 it stays so.
    [[nodiscard]] int milliseconds() const;

    // A deadline of this process has passed although the machine was too busy to tell.
    [[nodiscard]] static bool too_busy() noexcept;

  private:
    struct SecondHalf;

    void look_at_the_machine() const;

    std::chrono::steady_clock::time_point end_of_first_half_;
    std::chrono::milliseconds length_of_second_half_;
    // Shared by copies, and nothing before the second half.
    mutable std::shared_ptr<SecondHalf> second_half_;
    mutable bool passed_ = false;
};

// Returns once the condition holds. Throws if it does not before the deadline. It looks again and
// again with pauses, so use it for states that only /proc can tell, not for synchronisation. If
// something sends an event, wait for that event.
void eventually(std::string_view what, const std::function<bool()>& condition,
                Deadline deadline = Deadline());
// The same. If it throws, the text is what was seen.
void eventually(std::string_view what, const std::function<bool()>& condition,
                const std::function<std::string()>& seen, Deadline deadline = Deadline());

// One process, as /proc knows it.
struct ProcessInfo {
    pid_t pid = 0;
    pid_t parent = 0;
    pid_t session = 0;
    char state = '?';  // R runs, S sleeps, Z is dead and not yet waited for
    unsigned threads = 0;
    std::chrono::milliseconds cpu{0};  // used so far, to a hundredth of a second
    std::uint64_t started = 0;         // with the pid, identifies the process for good
};

[[nodiscard]] std::optional<ProcessInfo> process_info(pid_t pid);

// The threads of a process, with their numbers as pid.
[[nodiscard]] std::vector<ProcessInfo> threads_of(pid_t pid);

// All of them, except zombies.
[[nodiscard]] std::vector<ProcessInfo> processes();

// How many of its children have ended and have not been waited for.
[[nodiscard]] std::size_t zombies_of(pid_t pid);

// Its children, their children, and so on, except zombies.
[[nodiscard]] std::vector<ProcessInfo> descendants_of(pid_t pid);

// The CPU time that the calling thread has used.
[[nodiscard]] std::chrono::nanoseconds thread_cpu_time();

// The inodes of all sockets that a process has open.
[[nodiscard]] std::vector<std::uint64_t> socket_inodes(pid_t pid);

// What a process writes into a pipe. A thread of its own reads it, so that no writer ever blocks.
class Output {
  public:
    // Of a longer text it keeps the beginning and the end, each with that many bytes.
    explicit Output(Descriptor pipe,
                    std::size_t keep = std::numeric_limits<std::size_t>::max() / 4);
    ~Output();
    Output(const Output&) = delete;
    Output& operator=(const Output&) = delete;

    // All that has come so far.
    [[nodiscard]] std::string text() const;
    // How many bytes have come so far.
    [[nodiscard]] std::uint64_t size() const;
    // Whether there is more, which has not been read yet.
    [[nodiscard]] bool has_unread() const;

    // Waits until this text has come; throws at the deadline or if the pipe ends before.
    void wait_for(std::string_view text) const;

    // Waits for the end of the pipe, when no process has it open. Returns all that came.
    [[nodiscard]] std::string read_all() const;

  private:
    void drain();
    void wait_until(const std::string& what, const std::function<bool()>& condition) const;

    Descriptor pipe_;
    Descriptor stop_;  // an eventfd
    mutable std::mutex mutex_;
    mutable std::condition_variable changed_;
    const std::size_t keep_;
    std::string text_;
    std::uint64_t size_ = 0;
    bool ended_ = false;
    std::thread thread_;  // last: it uses all of the above
};

// Where the output of a program goes.
enum class Stream {
    pipe,    // to the test
    deaf,    // into a pipe whose reader is closed: writing fails with EPIPE
    unread,  // into a pipe that is not read yet: it fills
    full,    // to a full disk: writing fails with ENOSPC
    closed,  // nowhere: it has no such descriptor
};

// How to start a program.
struct Start {
    std::vector<std::string> command;
    std::vector<std::pair<__rlimit_resource_t, rlimit>> limits = {};
    Stream out = Stream::pipe;
    Stream err = Stream::pipe;
    std::vector<std::string> environment = {};  // "NAME=value", beside that of the test
    std::optional<uid_t> user = {};             // for root only: run as this user
    std::optional<int> keep = {};               // a descriptor that it inherits, beside 0 to 2
    // How much of the beginning and of the end of its output is kept; see Output.
    std::size_t keep_output = std::numeric_limits<std::size_t>::max() / 4;
};

// A program that runs in a session of its own. The destructor kills the whole session.
class Program {
  public:
    explicit Program(const Start& start);
    virtual ~Program();
    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;

    [[nodiscard]] pid_t pid() const noexcept { return pid_; }

    // Writes to its standard input.
    void write(std::string_view text);
    void close_stdin() { stdin_.reset(); }

    // Only for a Stream::pipe.
    [[nodiscard]] const Output& out() const noexcept { return *stdout_; }
    [[nodiscard]] const Output& err() const noexcept { return *stderr_; }
    // Only for a Stream::unread, which is a Stream::pipe from now on.
    void start_reading_err() { stderr_.emplace(std::move(unread_)); }

    void signal(int number) const;
    // Stops it, and returns when it has stopped. Its descendants go on.
    void stop() const;
    void resume() const;
    // As the terminal does on Ctrl-C: to the whole process group.
    void signal_group(int number) const;

    // Waits for its end. Returns its status, or minus the number of the signal that killed it.
    int wait(Deadline deadline = Deadline());

    // The program's own process. Throws if it has ended.
    [[nodiscard]] ProcessInfo info() const;

    // All other processes of its session, except zombies: also those whose parents have ended. For
    // a program that is not ours, also those that have left the session.
    [[nodiscard]] std::vector<ProcessInfo> descendants() const;

    // The processes that compute for it: its descendants, and the workers behind a broker.
    [[nodiscard]] virtual std::vector<ProcessInfo> helpers() const { return descendants(); }

    // How many descriptors it has open.
    [[nodiscard]] std::size_t descriptors() const;

    // The port that it listens on, 0 if there is none.
    [[nodiscard]] std::uint16_t listening_port() const;

    // Its resident memory, in bytes.
    [[nodiscard]] std::size_t memory() const;
    // All that it has mapped, in bytes.
    [[nodiscard]] std::size_t address_space() const;

  protected:
    // Whether it has ended by now.
    [[nodiscard]] bool has_ended(std::chrono::milliseconds within = {}) const;
    // Its end was asked for, by a signal from the test.
    [[nodiscard]] bool was_told_to_end() const noexcept { return told_to_end_; }

  private:
    mutable bool told_to_end_ = false;
    pid_t pid_ = -1;
    Descriptor pidfd_;
    Descriptor stdin_;
    std::optional<Output> stdout_;
    std::optional<Output> stderr_;
    Descriptor unread_;  // the reading end of Stream::unread
    std::optional<int> status_;
};

// The result of a program that ends by itself.
struct Outcome {
    int status = 0;
    std::string out;
    std::string err;
};

// Runs it to its end, and until no process holds its output open. A run that takes long needs a
// later deadline.
[[nodiscard]] Outcome run(const Start& start, Deadline deadline = Deadline(3 * patience));

// What was last said between a client of this thread and the server, and how a server that is not
// ours has ended. The judge tells it.
struct Talk {
    std::string sent;      // since the last reply, or the beginning of it
    std::string received;  // since then, or the end of it
};
[[nodiscard]] Talk& last_talk();

struct Ending {
    bool by_itself = false;
    bool noticed = false;  // by a client, whose connection ended
    std::string how;       // "signal 11 (Segmentation fault)"; empty if it had to be ended
    std::string out;
    std::string err;
};
// How the last server that is not ours has ended. Nothing while it runs.
[[nodiscard]] const std::optional<Ending>& last_ending();

// Ends the test case, because this server can't be asked for what the case needs, and says why.
// (For our stages, such cases are skipped before they start.)
class DoesNotApply : public std::runtime_error {
  public:
    explicit DoesNotApply(const std::string& why) : std::runtime_error(why) { last_ = why; }

    // Why the last one was thrown.
    [[nodiscard]] static const std::string& last() noexcept { return last_; }

  private:
    inline static std::string last_;
};

// A stage's executable that listens. Which stage: see stage.hpp.
//
// Or a server that is not ours, which the judge is asked about: a command that is started on a free
// port, with PORT in its environment, or the address of a server that runs already. It listens when
// a process that it has started has the port, or else when it replies. It gets none of the
// arguments, because they are our stages' options. It ends by SIGTERM. If that takes too long, it
// is killed, with all that it has started.
//
// The workers behind a broker are no children of the server, and do not notice its end. So with
// --pool broker each server here has a queue of its own, and workers that end with it. A test that
// gives it a --queue starts its own workers.
class Server : public Program {
  public:
    using Arguments = std::vector<std::string>;

    // Starts it on a free port (unless the arguments give another) and waits until it listens:
    // until it says so. If its stdout is not a pipe, /proc says it.
    explicit Server(const Arguments& arguments = {}, Start start = {});
    ~Server() override;

    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    [[nodiscard]] std::vector<ProcessInfo> helpers() const override;
    // All that it has written.
    [[nodiscard]] std::uint64_t written() const { return out().size() + err().size(); }
    // Some of what it has written has not been read yet.
    [[nodiscard]] bool still_writes() const { return out().has_unread() || err().has_unread(); }
    // Throws DoesNotApply if the process that listens is not one that we have started.
    void require_process() const;

  private:
    Server(const Arguments& arguments, Start start, bool queue_given, std::uint16_t port);
    void wait_until_foreign_listens();
    void end_foreign() noexcept;

    bool process_known_ = true;

    std::uint16_t port_ = 0;
    std::deque<Program> workers_;  // at the broker
};

// A user that runs only what this test starts, so that a limit on the number of a user's processes
// counts only those. Nothing if this test may not start servers as another user: it has to run as
// root, and from a directory that all users may enter.
[[nodiscard]] std::optional<uid_t> user_of_our_own();

// A client on a plain socket. TCP_NODELAY is set: every send() leaves at once.
class Client {
  public:
    explicit Client(const Server& server) : Client(server.port()) {}
    // A small receive buffer makes the server block soon when this client does not read.
    explicit Client(std::uint16_t port, int receive_buffer = 0);

    // Sends all of it.
    void send(std::string_view text);
    // Sends as much as fits without waiting, and returns the number of bytes.
    std::size_t send_some(std::string_view text);
    // Sends no more: the server reads an end of file.
    void shutdown_send();

    // The next line without its LF. Throws if there is none.
    std::string read_line();
    // For a client with a small receive buffer.
    void grow_receive_buffer();

    // The next byte, in a read of its own. Throws if there is none.
    char read_byte();
    // All until the server closes. A reset throws.
    std::string read_all();
    // All until the server closes or resets the connection.
    std::string read_until_gone();
    // Sends and gets the reply.
    std::string ask(std::string_view text)
    {
        send(text);
        return read_line();
    }
    // Sends all, half-closes, and reads all, at the same time: neither side can block the other.
    std::string converse(std::string_view text);

    // Whether something has arrived for read_line(): bytes, or the end.
    [[nodiscard]] bool readable() const;
    // Waits until readable().
    void wait_readable(Deadline deadline = Deadline()) const;

    // Ends the connection with a reset instead of an end of file.
    void reset();
    void close() { socket_.reset(); }

    [[nodiscard]] std::uint16_t local_port() const noexcept { return local_port_; }
    [[nodiscard]] int native_handle() const noexcept { return socket_.get(); }

    // How many segments with data have come from the server.
    [[nodiscard]] unsigned segments_received() const;

  private:
    [[nodiscard]] bool receive(const Deadline& deadline,
                               std::string_view what = "the server's reply");

    Descriptor socket_;
    std::uint16_t local_port_ = 0;
    std::string received_;
};

// The server's end of a client's connection, as the kernel knows it.
struct ServerEnd {
    std::uint64_t inode = 0;  // 0 until the server has accepted it
    std::size_t unread = 0;   // bytes that have arrived and that the server has not read
};

[[nodiscard]] std::optional<ServerEnd> server_end(const Server& server, const Client& client);

// Waits until the server has read all that the client has sent.
void wait_until_read(const Server& server, const Client& client);

// The CPU time that it and its living descendants have used. The workers behind a broker count as
// descendants.
[[nodiscard]] std::chrono::milliseconds cpu_time_with_descendants(const Program& program);

// Makes the program compute with start(), and waits until it and its descendants have used more CPU
// time than before. start() is called here, because a request with an end may be over before a
// delayed test waits for it.
void wait_until_computing(
    const Program& program, const std::function<void()>& start = [] {});

// Waits until this many descendants compute, and returns them.
[[nodiscard]] std::vector<pid_t> wait_until_descendants_compute(
    const Program& program, std::size_t count, const std::function<void()>& start = [] {});

}  // namespace ground::test
