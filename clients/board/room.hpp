// room.hpp -- who is in the room: phones, each of them a client of the server, and their votes.
//
// A phone may do four things: join with a name, ask the server for a number, vote, and leave. It
// proves who it is by a token that it got when it joined. The token is never shown, so a phone can
// move its own client and its own vote, and nothing else. The instructor's commands come from the
// board's page by another door, which is on the loopback.
//
// Any thread may call the functions. What a phone sends has not been checked by the caller.
#pragma once

#include "clients/board/crowd.hpp"
#include "clients/board/questions.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ground::board {

struct RoomLimits {
    std::size_t phones = 300;
    std::size_t per_address = 4;                      // phones that come from one address
    std::size_t big_at_once = 8;                      // big requests that wait for their replies
    std::chrono::milliseconds between_requests{300};  // of one phone
    std::chrono::milliseconds until_away{20'000};     // without a word
    std::chrono::milliseconds until_forgotten{900'000};
    double joins_per_second = 20;
    double joins_at_once = 60;
};

// Limits how often something may happen: `per_second` times in a second. After a pause it may
// happen up to `at_once` times at once.
class Allowance {
  public:
    using Clock = std::chrono::steady_clock;
    Allowance(double per_second, double at_once)
        : per_second_(per_second), at_once_(at_once), left_(at_once)
    {
    }
    [[nodiscard]] bool take(Clock::time_point now = Clock::now());
    // Nothing was taken for so long that this is as good as a new one.
    [[nodiscard]] bool full(Clock::time_point now = Clock::now()) const;

  private:
    double per_second_;
    double at_once_;
    double left_;
    Clock::time_point since_ = Clock::now();
};

// A name as it is shown: one line of at most 20 characters. Characters are left out that could hide
// the text beside the name, or reverse its direction. Empty if nothing is left, or if it is no
// UTF-8.
[[nodiscard]] std::string clean_name(std::string_view text);

class Room {
  public:
    struct Reply {
        int status = 200;
        std::string body;
    };
    using Questions = std::map<std::string, std::vector<Question>>;  // by the stage's name
    // Called when something has changed for this phone (no number: for all phones). It is called
    // from any thread, and with the room locked: it may only note that, and must not call the room.
    using Wake = std::function<void(std::optional<unsigned> phone)>;

    // A phone has a client in each crowd. Without a crowd, phones only vote.
    Room(std::vector<Crowd*> crowds, Questions questions, RoomLimits limits = {});
    ~Room();
    Room(const Room&) = delete;
    Room& operator=(const Room&) = delete;

    // ---- For phones

    // From now on phones can come, to this address, and `wake` is called, until close().
    void open(std::string address, Wake wake);
    void close();

    // Replies {"token": ..., "name": ...}. If another phone has the name, a number is added to it.
    [[nodiscard]] Reply join(const nlohmann::json& wish, const std::string& address);
    [[nodiscard]] Reply ask(std::string_view token, const nlohmann::json& wish);
    [[nodiscard]] Reply vote(std::string_view token, const nlohmann::json& wish);
    [[nodiscard]] Reply leave(std::string_view token);
    // The number of the phone with this token. Its time of silence begins again.
    [[nodiscard]] std::optional<unsigned> phone_of(std::string_view token);
    // What this phone shows, and the number of this state.
    struct State {
        std::uint64_t version = 0;
        std::string json;
    };
    // Nothing if there is no such phone. The text is empty if nothing has changed since `after`.
    [[nodiscard]] std::optional<State> state_of(unsigned phone, std::uint64_t after);

    // ---- For the board

    // Does what a button asks for. Returns an empty text, or one line that says why not. Returns
    // nothing if the command is not for the room.
    [[nodiscard]] std::optional<std::string> obey(const nlohmann::json& command);
    // Call it often. stages: those that run now, one for each crowd.
    void tick(const std::vector<std::string>& stages);
    // What the board's page shows of the room. It contains votes only when they may be seen.
    [[nodiscard]] State shown(std::uint64_t after) const;

  private:
    using Clock = std::chrono::steady_clock;

    // A phone's client at one of the servers.
    struct Seat {
        unsigned client = 0;  // 0: it has none
        std::optional<Clock::time_point> asked;
        unsigned n = 0;
        std::string reply;
        double milliseconds = 0;
    };
    struct Phone {
        std::string token;
        std::string name;
        std::string address;
        Clock::time_point heard;
        Clock::time_point last_request;
        std::vector<Seat> seats;
        std::uint64_t changed = 0;
        bool away = false;
    };
    enum class Step { open, shown, told };
    struct Vote {
        std::string stage;
        std::size_t index = 0;  // of the question, in its stage
        unsigned serial = 0;    // of this round; each vote of a phone names it
        unsigned round = 1;
        Step step = Step::open;
        std::map<unsigned, std::size_t> phones = {};
        std::vector<std::size_t> hands = {};   // raised, and counted by the instructor
        std::vector<std::size_t> before = {};  // the round before
    };

    void heard(std::size_t crowd, const Line& line);

    // All of these need the lock.
    [[nodiscard]] Phone* find(std::string_view token);
    void change(std::optional<unsigned> phone);
    void change_board() { ++version_; }
    bool seat(Phone& phone, unsigned number);
    void unseat(Phone& phone);
    void forget(unsigned number);
    bool make_room(bool full, const std::string* address);
    [[nodiscard]] std::string unused(const std::string& name) const;
    [[nodiscard]] std::size_t big_ones() const;
    [[nodiscard]] const Question& question() const;
    [[nodiscard]] std::vector<std::size_t> counted() const;
    [[nodiscard]] nlohmann::json question_json(bool for_board) const;
    std::string begin_vote(const nlohmann::json& command);
    std::string raise_hand(const nlohmann::json& command);
    std::string phone_leaves(const nlohmann::json& command);

    const std::vector<Crowd*> crowds_;
    const Questions questions_;
    const RoomLimits limits_;

    mutable std::mutex mutex_;  // of what follows
    std::string address_;
    std::vector<std::string> qr_;
    Wake wake_;
    std::vector<std::string> stages_;
    std::map<unsigned, Phone> phones_;
    std::map<std::string, unsigned, std::less<>> tokens_;
    std::vector<std::map<unsigned, unsigned>> of_client_;  // for each crowd: client to phone
    unsigned last_phone_ = 0;
    unsigned last_serial_ = 0;
    std::optional<Vote> vote_;
    bool big_ = false;
    Allowance joins_;
    std::uint64_t version_ = 1;
    std::uint64_t for_all_ = 1;  // the version of the last change that all phones show
};

}  // namespace ground::board
