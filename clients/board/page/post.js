// post.js -- how a page of the board tells it what to do. The page has complain(), which shows a line to the user.

async function post(what) {
  try {
    const response = await fetch("do", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(what),
    });
    if (!response.ok) {
      complain((await response.text()).trim());
    }
  } catch {
    complain("The board has ended.");
  }
}
